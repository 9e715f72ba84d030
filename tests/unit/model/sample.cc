// One process with two threads, a log, a pipe, a terminal, a heap and a mapped library.
#include "sample.h"

#include <fcntl.h>

namespace stasis::model {
namespace {

Vma anonymous(u64 start, u64 end, const char* name) {
  return {.start = {start}, .end = {end}, .protection = 3, .name = name};
}

Memory sample_memory() {
  Memory memory;
  memory.vmas = {{.start = {0x400000},
                  .end = {0x500000},
                  .protection = 5,
                  .kind = VmaKind::kFile,
                  .resource = 0,
                  .flags = {"ex", "rd"}},
                 anonymous(0x600000, 0x700000, "[heap]"),
                 anonymous(0x7f0000000000, 0x7f0000100000, ""),
                 {.start = {0x7ff000000000},
                  .end = {0x7ff000021000},
                  .protection = 3,
                  .kind = VmaKind::kStack,
                  .name = "[stack]",
                  .flags = {"ac", "gd", "rd", "wr"}}};
  return memory;
}

}  // namespace

Image sample_image() {
  Image image;
  image.origin = {.stasis_version = "0.1.0",
                  .created_ns = 1'790'000'000'000'000'000,
                  .hostname = "somewhere",
                  .kernel_release = "6.1.0",
                  .architecture = "x86_64",
                  .page_size = kPageSize};
  image.spaces = {{"memory of process 4711",
                   0,
                   {{0x600000, 0x4000, RunKind::kData}, {0x7ff000020000, 0x1000, RunKind::kData}}}};
  image.resources = {RegularFile{.path = "/usr/bin/python3", .identity = {.inode = 5, .size = 9}},
                     RegularFile{.path = "/var/log/it\033[1m", .identity = {.inode = 6}},
                     Pipe{.inode = 8123, .capacity = 65536, .packets = {Bytes(13)}},
                     Terminal{.path = "/dev/pts/3"}};
  image.open_files = {{.resource = 3, .flags = O_RDWR},
                      {.resource = 1, .flags = O_WRONLY | O_APPEND, .offset = 1234},
                      {.resource = 2, .flags = O_RDONLY | O_NONBLOCK}};
  Process& process = image.processes.emplace_back();
  process.pid = 4711;
  process.parent = 4700;
  process.executable = 0;
  process.working_directory = "/home/user";
  process.credentials.uids = {1000, 1000, 1000, 1000};
  process.actions = {{.signal = 2, .handler = {0x401000}}, {.signal = 13, .handler = {1}}};
  process.interval_timers = {{.which = 0, .value_us = 1500000}};
  process.memory = sample_memory();
  process.descriptors = {{0, false, 0}, {1, false, 0}, {3, true, 1}, {7, false, 2}};
  process.threads.resize(2);
  process.threads[0].tid = 4711;
  process.threads[0].name = "python3";
  process.threads[0].interrupted = {.number = 230, .remaining_ns = 800'000'000};
  process.threads[1].tid = 4712;
  process.threads[1].name = "worker";
  process.threads[1].blocked_signals = 0x4002;
  return image;
}

}  // namespace stasis::model
