// A C++ program: exceptions inside and around callbacks, objects with destructors, std::thread and
// thread_local, all of them across checkpoints and restarts.
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "compat.h"

namespace {

struct Counted {
  static int alive;
  Counted() { alive++; }
  Counted(const Counted&) { alive++; }
  ~Counted() { alive--; }
};
int Counted::alive;

void throws_deep(int depth) {
  Counted here;
  if (depth == 0) throw std::runtime_error("deep");
  throws_deep(depth - 1);
}

bool catches() {
  try {
    throws_deep(20);
  } catch (const std::runtime_error& error) {
    return std::string(error.what()) == "deep";
  }
  return false;
}

int throws_inside(void* count) {
  Counted object;
  std::vector<std::string> strings(100, "some text that is long enough not to be kept inside");
  CHECK(catches());
  CHECK(cr_checkpoint(CR_CHECKPOINT_READY) >= 0);
  CHECK(catches());
  CHECK(strings[99].size() == 51);
  ++*static_cast<int*>(count);
  return 0;
}

thread_local int own_number;

}  // namespace

CP_CASE(exceptions_inside_signal_callbacks) {
  int calls = 0;
  CHECK(cr_init() >= 0);
  for (int i = 0; i < 3; i++)
    CHECK(cr_register_callback(throws_inside, &calls, CR_SIGNAL_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  CHECK_EQ(calls, 6);
  CHECK_EQ(Counted::alive, 0);
}

CP_CASE(exceptions_inside_thread_callbacks) {
  int calls = 0;
  CHECK(cr_init() >= 0);
  for (int i = 0; i < 3; i++)
    CHECK(cr_register_callback(throws_inside, &calls, CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  CHECK_EQ(calls, 6);
  CHECK_EQ(Counted::alive, 0);
}

// The callback throws past cr_checkpoint() and catches outside of it, within the callback.
namespace {
int catches_around(void* count) {
  try {
    Counted object;
    if (cr_checkpoint(CR_CHECKPOINT_READY) >= 0) throw 5;
  } catch (int value) {
    *static_cast<int*>(count) += value;
  }
  return 0;
}
}  // namespace

CP_CASE(exceptions_around_cr_checkpoint) {
  int sum = 0;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(catches_around, &sum, CR_SIGNAL_CONTEXT) >= 0);
  CHECK(cr_register_callback(catches_around, &sum, CR_THREAD_CONTEXT) >= 0);
  CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  CHECK_EQ(sum, 20);
  CHECK_EQ(Counted::alive, 0);
}

// Checkpoints arrive while another thread is in the middle of throwing and unwinding. Its callback
// runs there, as a signal handler would: one that threw as well could wait for a lock of malloc(3)
// that the thread itself holds.
namespace {
int counts(void* calls) {
  ++*static_cast<int*>(calls);
  return 0;
}
}  // namespace

CP_CASE(exceptions_thrown_during_checkpoints) {
  std::atomic<bool> stop{false};
  std::atomic<long> caught{0};
  CHECK(cr_init() >= 0);
  std::thread thrower([&] {
    CHECK(cr_init() >= 0);
    int calls = 0;
    CHECK(cr_register_callback(counts, &calls, CR_SIGNAL_CONTEXT) >= 0);
    while (!stop) {
      CHECK(catches());
      caught++;
    }
    CHECK_EQ(calls, 6);
  });
  UNTIL(caught > 0);
  for (int i = 0; i < 5; i++) CHECK_EQ(cp_checkpoint(getpid(), ""), 0);
  cp_restart("");
  long before = caught;
  UNTIL(caught > before + 10);
  stop = true;
  thrower.join();
  CHECK_EQ(Counted::alive, 0);
}

CP_CASE(critical_sections_as_objects) {
  struct Section {
    cr_client_id_t id;
    explicit Section(cr_client_id_t own) : id(own) { CHECK_EQ(cr_enter_cs(id), 0); }
    ~Section() { CHECK_EQ(cr_leave_cs(id), 0); }
    Section(const Section&) = delete;
    Section& operator=(const Section&) = delete;
  };
  cr_client_id_t id = cr_init();
  CHECK(cr_register_callback(cp_noting, const_cast<char*>("a"), CR_SIGNAL_CONTEXT) >= 0);
  pid_t command = 0;
  try {
    Section section(id);
    command = cp_start(getpid(), "");
    UNTIL(cr_status() == CR_STATE_PENDING);
    CHECK_NOTES("");
    throw 1;
  } catch (int) {
    CHECK_NOTES("aA");  // taken in the destructor, on the way to here
  }
  CHECK_EQ(cp_finish(command), 0);
}

CP_CASE(thread_local_objects_are_saved) {
  std::atomic<int> ready{0};
  std::atomic<bool> go{false};
  std::vector<std::thread> threads;
  CHECK(cr_init() >= 0);
  CHECK(cr_register_callback(cp_noting, const_cast<char*>("a"), CR_THREAD_CONTEXT) >= 0);
  for (int i = 1; i <= 4; i++)
    threads.emplace_back([i, &ready, &go] {
      own_number = i;
      ready++;
      UNTIL(go);
      CHECK_EQ(own_number, i);
    });
  UNTIL(ready == 4);
  cp_restart("");
  go = true;
  for (auto& thread : threads) thread.join();
  CHECK_EQ(own_number, 0);
}
