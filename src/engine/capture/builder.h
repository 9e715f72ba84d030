// Builder: the image while it is being captured, and what the handlers of resources may ask of it.
// Its parts are filled by the passes of capture.cc; survey.cc uses the first of them only.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "capture/capture.h"
#include "capture/live_pages.h"
#include "capture/mapped_content.h"
#include "model/image.h"
#include "proc/maps.h"
#include "resource/handler.h"
#include "trace/freeze.h"
#include "trace/remote_call.h"

namespace stasis::capture {

// The descriptors of one process, with the open file that each refers to.
struct ProcessDescriptors {
  Pid pid = 0;
  Pid thread = 0;  // through which /proc shows them: the leader unless it has ended
  UniqueFd pidfd;  // of that thread, while descriptors are being duplicated
  // Ascending numbers. Only the first of those that are one open file, in the order of all, holds a
  // duplicate: that of every descriptor would be more than one process may have.
  std::vector<resource::FdFacts> facts;
  std::vector<model::OpenFileIndex> open_files;  // parallel to facts
};

class Builder : public resource::CaptureContext {
 public:
  explicit Builder(std::vector<Pid> pids, const CaptureOptions& options)
      : options_(options), pids_(std::move(pids)) {}

  model::Image image;
  LivePages pages;
  std::vector<std::string> notes;  // what the image lacks and the user should know

  // Reads what is known of all descriptors; those that no handler takes, or that their handler
  // cannot save, become refusals. Nothing is captured yet.
  Result<void> load_descriptors(std::vector<Refusal>& refusals);
  // Turns them into open files and resources of the image.
  Result<void> capture_descriptors();
  // The same for running processes, as far as that is harmless: files, directories and devices that
  // have names. What else there is becomes an event counter.
  void sketch_descriptors();
  // The descriptor table of a process, as the model has it.
  [[nodiscard]] std::vector<model::Descriptor> descriptors(Pid pid) const;

  // The resource that an area, or the executable, of `process` maps.
  Result<model::ResourceIndex> mapped_resource(trace::FrozenProcess& process,
                                               const proc::Area& area);
  Result<model::ResourceIndex> executable(trace::FrozenProcess& process);
  // Finds which pages exist of the objects that only mappings reach and `process` maps; asks from
  // inside, as a page may exist without being in this process's page table.
  Result<void> note_mapped_pages(trace::FrozenProcess& process, trace::RemoteCalls& calls);
  // Where the contents of those objects come from; after note_mapped_pages of every process.
  void connect_mapped_contents();

  model::SpaceIndex add_space(std::string label, u64 size);

  // resource::CaptureContext
  Result<model::SpaceIndex> add_content(UniqueFd file, u64 size, std::string label) override;
  std::optional<model::OpenFileIndex> open_file(Pid pid, int number) override;
  bool in_image(Pid pid) override;
  std::vector<Pid> processes() override { return pids_; }
  bool has_peer(u64 pipe_inode, bool want_reader) override;
  std::vector<std::string> links_of(const struct stat& object) override;
  u64 controlling_terminal(Pid pid) override;

 private:
  Result<void> load_table(Pid pid, std::vector<Refusal>& refusals);
  Result<void> duplicate_first_of_each();
  Result<void> group_open_files();
  Result<model::ResourceIndex> resource_for(const resource::FdFacts& facts);
  Result<model::ResourceIndex> file_of(const trace::FrozenProcess& process, const proc::Area& area,
                                       const std::string& key);
  Result<std::optional<model::ResourceIndex>> file_by_descriptor(const proc::Area& area);
  Result<std::optional<model::ResourceIndex>> file_by_mapping(const trace::FrozenProcess& process,
                                                              const proc::Area& area, bool& lives);
  Result<void> check_other_names(model::ResourceIndex index, const proc::Area& area);
  model::ResourceIndex content_by_mapping(const proc::Area& area, const std::string& key);
  model::ResourceIndex add_resource(model::Resource resource, const std::string& key);
  void note_build_id(model::ResourceIndex index, int fd);

  CaptureOptions options_;
  std::vector<Pid> pids_;
  std::vector<ProcessDescriptors> descriptors_;
  std::map<std::string, model::ResourceIndex> resources_by_key_;
  std::map<model::ResourceIndex, MappedContent> mapped_;
  // Carried files that have a name, which was not found; that have one, perhaps.
  std::set<model::ResourceIndex> living_, unsure_;
};

}  // namespace stasis::capture
