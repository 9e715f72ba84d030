// base/result: values, errors with contexts, TRY.
#include "base/result.h"

#include <doctest/doctest.h>

#include <cerrno>

using namespace stasis;

namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return fail(EINVAL, "cannot halve " + std::to_string(number), "use 2");
  return number / 2;
}

Result<int> quarter(int number) {
  return TRY(half(TRY(half(number))).context("second half"));
}

Result<void> only_even(int number) {
  (void)TRY(half(number));
  return {};
}

}  // namespace

TEST_CASE("TRY gives the value, or returns the error with its contexts and hint") {
  CHECK(*quarter(12) == 3);
  const auto failed = quarter(6);
  REQUIRE(!failed);
  CHECK(failed.error().code == EINVAL);
  CHECK(failed.error().message() == "second half: cannot halve 3");
  CHECK(failed.error().hint == "use 2");
}

TEST_CASE("Result<void> is ok or an error") {
  CHECK(only_even(4).ok());
  CHECK(!only_even(5).ok());
}
