// Handlers: one per kind of resource, both directions, behind one table (registry.cc). A handler
// recognises a descriptor from what can be learnt outside, describes it, and at restart makes it
// again. create then settle: create needs nothing but the image and our own descriptors; settle is
// for what needs all processes to exist (epoll members, owners, locks, pidfds).
#pragma once

#include <sys/stat.h>
#include <time.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "base/unique_fd.h"
#include "model/image.h"
#include "model/page_source.h"
#include "proc/fdinfo.h"
#include "resource/rights.h"
#include "trace/script.h"

namespace stasis::resource {

// ------------------------------------------------------------------ capture

// A descriptor as seen from outside. `duplicate` is ours (pidfd_getfd): the same open file
// description, so reading it or moving its offset would disturb the target; use pread, tee,
// MSG_PEEK.
struct FdFacts {
  Pid pid = 0;
  int number = 0;
  std::string link;  // /proc/PID/fd/N
  struct stat status = {};
  proc::FdInfo info;
  UniqueFd duplicate;  // absent when only visible facts may be used (Yama)

  [[nodiscard]] std::string describe() const;  // "descriptor 5 of process 4711 (socket:[8123])"
};

// What handlers may ask and give while capturing.
class CaptureContext {
 public:
  virtual ~CaptureContext() = default;
  // Registers the contents of `file` (read by pread, holes skipped) as a new space of the image.
  virtual Result<model::SpaceIndex> add_content(UniqueFd file, u64 size, std::string label) = 0;
  // Index of the open file behind a descriptor of a captured process; nullopt: not in the image.
  virtual std::optional<model::OpenFileIndex> open_file(Pid pid, int number) = 0;
  // Whether this pid belongs to the image.
  virtual bool in_image(Pid pid) = 0;
  // Whether some descriptor of the image other than `except` is the other end of this pipe inode.
  virtual bool has_peer(u64 pipe_inode, bool want_reader) = 0;
  // What /proc shows as the names of all descriptors of the image that refer to this very object.
  virtual std::vector<std::string> links_of(const struct stat& object) = 0;
  // The controlling terminal's device of the process (stat's tty_nr); 0 if none.
  virtual u64 controlling_terminal(Pid pid) = 0;
  // All processes of the image, for handlers that must search them; empty: only the one at hand.
  virtual std::vector<Pid> processes() { return {}; }
};

// ------------------------------------------------------------------ restart

struct Relocation {
  std::string from, to;  // absolute; whole leading components
};
// What becomes of files that were open for writing and have grown (cut_back.h).
enum class FileSizePolicy {
  kTruncate,     // BLCR's: cut back, unless others write them as well
  kKeep,         // left
  kTruncateAll,  // cut back in any case
};

// What the person who restarts decides about files.
struct RestoreOptions {
  std::vector<Relocation> relocations;
  FileSizePolicy file_size = FileSizePolicy::kTruncate;
  bool ignore_changed_files = false;  // --allow-changed-files
  bool drop_pipe_data = false;        // go on without what waited in a pipe from a program outside
};

// What is to be added to a point in time by a clock of the image, and by that clock of ours, to get
// the one that the restarted processes see.
struct ClockShift {
  i64 image_ns = 0, ours_ns = 0;
  bool operator==(const ClockShift&) const = default;
};
struct Clocks {
  ClockShift monotonic, boottime;
  bool operator==(const Clocks&) const = default;
  // CLOCK_REALTIME is the same everywhere.
  [[nodiscard]] ClockShift of(clockid_t clock) const {
    if (clock == CLOCK_MONOTONIC) return monotonic;
    return clock == CLOCK_BOOTTIME || clock == CLOCK_BOOTTIME_ALARM ? boottime : ClockShift();
  }
};

// State of one restart. Everything made lives here until the targets have inherited it.
struct RestoreContext {
  const model::Image& image;
  model::PageSource& pages;
  RestoreOptions options;
  // Descriptors made for a resource: e.g. both ends of a pipe ("r", "w"), a file made again and
  // unlinked. Keyed by resource and role.
  std::map<std::pair<model::ResourceIndex, std::string>, UniqueFd> made;
  // Files that were made under their names, to be removed if the restart fails.
  struct NewName {
    std::string path;
    bool by_root = false;  // made by us, not by who holds it
  };
  std::vector<NewName> new_names = {};
  // What was done that the user should know though it is no failure, a sentence each.
  std::vector<std::string> notes = {};
  Rights rights = {};  // with whose rights paths are used
  Clocks clocks = {};  // known when the first process exists

  [[nodiscard]] std::string relocate(const std::string& path) const;
};

// Calls to be run in the process `pid` once all of its descriptors are in place.
struct SettleCalls {
  Pid pid = 0;
  trace::Script* script = nullptr;
  const model::Process& process;
  // Saved pid -> the one the process sees now; null: ids are as saved.
  const std::map<Pid, Pid>* ids = nullptr;
};

struct Handler {
  std::string_view kind;  // model kKind
  // Whether this handler is the one for the descriptor.
  bool (*recognises)(const FdFacts& facts);
  // What stands in the way of saving it, without disturbing anything (survey, before the freeze).
  std::optional<Refusal> (*obstacle)(const FdFacts& facts, CaptureContext& context);
  // Key under which two open files are one resource ("8:1:1234"); empty: each open file its own.
  std::string (*identity)(const FdFacts& facts);
  // The resource (processes are frozen).
  Result<model::Resource> (*capture)(const FdFacts& facts, CaptureContext& context);
  // What stands in the way of making it here, before anything is created.
  std::vector<Refusal> (*restore_obstacles)(const model::Resource&, const RestoreContext&);
  // A descriptor of ours that is open file `index` (of this resource); offset and status flags are
  // set by the caller where lseek and F_SETFL do it.
  Result<UniqueFd> (*create)(model::OpenFileIndex index, RestoreContext& context);
  // Adds calls to a target's script, for descriptor `descriptor`; may be null. Called once per open
  // file, for the first descriptor of the first process that holds it...
  void (*settle)(const model::Descriptor& descriptor, RestoreContext& context, SettleCalls& calls);
  // ... or, if this is set, for the first descriptor in every process that holds it.
  bool settle_in_each_process = false;
};

// All handlers, and the one for a kind or a descriptor. nullptr: nobody, i.e. refused by name.
std::span<const Handler* const> handlers();
const Handler* handler_of(const model::Resource& resource);
const Handler* handler_for(const FdFacts& facts);
// The reason for refusing a descriptor that no handler recognises ("a listening TCP socket: ...").
Refusal refuse_unknown(const FdFacts& facts);

// Reads the facts of a descriptor; `pidfd` < 0: visible facts only.
Result<FdFacts> read_facts(Pid pid, int pidfd, int number);

// All that speaks against saving the descriptor: nobody knows its kind, its handler's obstacle, or
// its open file has something that cannot be had again (a lease). Disturbs nothing.
std::vector<Refusal> obstacles(const FdFacts& facts, CaptureContext& context);
// The open file itself: flags, offset, owner, signal, locks (processes are frozen). `index` is that
// of `resource`, to which it refers.
Result<model::OpenFile> capture_open_file(const FdFacts& facts, model::ResourceIndex index,
                                          const model::Resource& resource);

// ------------------------------------------------------------------ files, for who maps them

model::FileIdentity identity_of(const struct stat& status);
// The GNU build-id of an ELF file in hex; empty when it has none or is no ELF file.
std::string read_build_id(int fd);
// A mapped file that has a path ("" or another file there: ENOENT, ESTALE), with its build-id.
Result<model::RegularFile> describe_mapped_file(const std::string& path, u64 inode);

}  // namespace stasis::resource
