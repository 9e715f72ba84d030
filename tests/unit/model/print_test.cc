// What people read about an image.
#include <doctest/doctest.h>

#include "model/print.h"
#include "model/print_words.h"
#include "model/random.h"
#include "model/validate.h"
#include "sample.h"

namespace stasis::model {

TEST_CASE("the text of a sample") {
  const Image image = sample_image();
  REQUIRE(validate(image));
  const std::string text = print_text(image, {.file = "context.4711", .file_bytes = 10240});
  const std::string expected =
      R"(/usr/bin/python3, process 4711: 1 process, 2 threads
  taken        2026-09-21 14:13:20 UTC on somewhere (Linux 6.1.0, x86_64) by Stasis 0.1.0
  memory       20.0 KiB saved of 3.1 MiB mapped
  file         context.4711, 10.0 KiB (50 % of what is saved)

Process 4711 python3
  program      /usr/bin/python3
  directory    /home/user
  ids          parent 4700, group 0, session 0, user 1000
  handles      SIGINT
  ignores      SIGPIPE
  timer        interval timer 0, 1.5 s left

  2 threads
     tid  name     state                              blocks
    4711  python3  in system call 230, 800.0 ms left
    4712  worker   running                            SIGINT, SIGTERM

  4 descriptors
    fd  flags       offset           what
     0  rw               0           terminal /dev/pts/3
     1  rw               0           terminal /dev/pts/3
     3  w append      1234  cloexec  /var/log/it\x1b[1m
     7  r nonblock       0           pipe [8123], 13 B buffered

  4 memory areas
           start       size           saved  what
          400000    1.0 MiB  r-xp            /usr/bin/python3
          600000    1.0 MiB  rw-p  16.0 KiB  [heap]
    7f0000000000    1.0 MiB  rw-p
    7ff000000000  132.0 KiB  rw-p   4.0 KiB  [stack]
)";
  CHECK(text == expected);
}

TEST_CASE("every image can be printed") {
  CHECK(!print_text(Image{}).empty());
  for (u64 seed = 0; seed < 50; ++seed) CHECK(!print_text(random_image(seed)).empty());
}

TEST_CASE("words") {
  CHECK(size_words(1023) == "1023 B");
  CHECK(size_words(1024) == "1.0 KiB");
  CHECK(size_words(1024 * 1024 - 1) == "1.0 MiB");
  CHECK(size_words(u64{3} << 40) == "3.0 TiB");
  CHECK(time_words(999'000) == "999 us");
  CHECK(time_words(1'500'000'000) == "1.5 s");
  CHECK(signal_words(0) == "none");
  CHECK(count_words(1, "process") == "1 process");
  CHECK(count_words(2, "process") == "2 processes");
}

}  // namespace stasis::model
