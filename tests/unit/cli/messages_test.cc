// cli/messages, human, preload, progress: BLCR's sentences, exit codes and classes; numbers for
// people; LD_PRELOAD.
#include "messages.h"

#include <blcr_errcodes.h>
#include <doctest/doctest.h>

#include <cerrno>

#include "human.h"
#include "options.h"
#include "preload.h"
#include "progress.h"

using namespace stasis;
using namespace stasis::cli;

static_assert(CR_ETEMPFAIL == kTempFail && CR_EPERMFAIL == kPermFail &&
              CR_ENOSUPPORT == kNoSupport && CR_EBADARCH == kBadArch && CR_EPTRACED == kPtraced &&
              CR_ERSTRTABRT == kRestartAborted);

TEST_CASE("a failed checkpoint ends with BLCR's sentence") {
  CHECK(checkpoint_failure(CR_ETEMPFAIL) == "Checkpoint cancelled by application: try again later");
  CHECK(checkpoint_failure(CR_EPERMFAIL) ==
        "Checkpoint cancelled by application: unable to checkpoint");
  CHECK(checkpoint_failure(ESRCH) == "Checkpoint failed: no processes checkpointed");
  CHECK(checkpoint_failure(CR_ENOSUPPORT) == "Checkpoint failed: support missing from application");
  CHECK(checkpoint_failure(ENOSYS) == "Checkpoint failed: support missing from kernel");
  CHECK(checkpoint_failure(EPERM) == "Checkpoint failed: Operation not permitted");
  CHECK(checkpoint_failure(CR_EPTRACED) ==
        "Checkpoint failed: One or more target processes is being ptraced");
}

TEST_CASE("exit codes are the low eight bits, and a failure is never 0") {
  CHECK(exit_code(ESRCH) == 3);
  CHECK(exit_code(EBUSY) == 16);
  CHECK(exit_code(CR_ETEMPFAIL) == 50);
  CHECK(exit_code(CR_ENOINIT) == 61);
  CHECK(exit_code(kUsageError) == 255);
  CHECK(exit_code(512) != 0);
}

TEST_CASE("every code of BLCR has a text") {
  for (int code = CR_MIN_ERRCODE + 1; code < CR_MAX_ERRCODE; ++code) {
    CAPTURE(code);
    CHECK(error_text(code).find("Unknown") == std::string::npos);
  }
  CHECK(error_text(CR_ENOTCB) == "Call is only valid from a checkpoint callback");
}

TEST_CASE("restart failures fall into BLCR's classes") {
  for (const int code : {ENOMEM, EBUSY}) {
    CHECK(classify_restart_failure(code) == FailureClass::kTemporary);
  }
  for (const int code : {EACCES, EPERM, ENOENT, EEXIST, EISDIR, ENOTDIR}) {
    CHECK(classify_restart_failure(code) == FailureClass::kEnvironment);
  }
  CHECK(classify_restart_failure(kUsageError) == FailureClass::kArguments);
  for (const int code : {EIO, EINVAL, ENOSYS, CR_EBADARCH}) {
    CHECK(classify_restart_failure(code) == FailureClass::kPermanent);
  }
}

TEST_CASE("details are lines behind dashes: contexts, message, advice") {
  Error error = fail(EPERM, "first\nsecond", "do this");
  error.contexts = {"outer"};
  CHECK(details(error) == "- outer: first\n- second\n- do this\n");
}

TEST_CASE("bytes, times and counts read well") {
  CHECK(human_bytes(0) == "0 B");
  CHECK(human_bytes(999) == "999 B");
  CHECK(human_bytes(62'771) == "61.3 KiB");
  CHECK(human_bytes(1536ULL << 20) == "1.5 GiB");
  CHECK(human_bytes(213ULL << 20) == "213 MiB");
  CHECK(human_time(850) == "850 us");
  CHECK(human_time(14'200) == "14.2 ms");
  CHECK(human_time(3'100'000) == "3.1 s");
  CHECK(count(1, "process", "processes") == "1 process");
  CHECK(count(2, "process", "processes") == "2 processes");
  CHECK(count(0, "thread") == "0 threads");
}

TEST_CASE("the progress line tells share, size and speed") {
  CHECK(progress_text("saving", 512ULL << 20, 1ULL << 30, 2.0) ==
        "saving: 50% of 1.0 GiB, 256 MiB/s");
  CHECK(progress_text("saving", 0, 0, 0) == "saving: 0 B");
}

TEST_CASE("LD_PRELOAD gets our library first, without earlier ones, others kept") {
  CHECK(preload_list("", "libcr_run.so.0") == "libcr_run.so.0");
  CHECK(preload_list("a.so /x/libcr_omit.so.0:b.so libcr_run.so.0", "libcr_run.so.0") ==
        "libcr_run.so.0:a.so:b.so");
  CHECK(preload_list("libcr_run.so.0", "") == "");
  CHECK(preload_list("a.so", "") == "a.so");
}
