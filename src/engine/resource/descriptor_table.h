// The descriptors of one process, found without a walk: an epoll instance may have tens of
// thousands of items, and a program as many descriptors.
#pragma once

#include <unordered_map>
#include <vector>

#include "model/image.h"

namespace stasis::resource {

// It refers to the image, which must outlive it and stay as it is.
class DescriptorTable {
 public:
  DescriptorTable(const model::Image& image, const model::Process& process)
      : process_(&process), first_of_(image.open_files.size()) {
    for (const model::Descriptor& descriptor : process.descriptors) {
      at_number_[descriptor.number] = &descriptor;
      const model::Descriptor*& first = first_of_[descriptor.open_file];
      if (first == nullptr) first = &descriptor;
    }
  }
  [[nodiscard]] const model::Process& process() const { return *process_; }
  [[nodiscard]] const model::Descriptor* first_of(model::OpenFileIndex open_file) const {
    return first_of_[open_file];
  }
  [[nodiscard]] const model::Descriptor* at(int number) const {
    const auto found = at_number_.find(number);
    return found == at_number_.end() ? nullptr : found->second;
  }

 private:
  const model::Process* process_;
  std::vector<const model::Descriptor*> first_of_;
  std::unordered_map<int, const model::Descriptor*> at_number_;
};

}  // namespace stasis::resource
