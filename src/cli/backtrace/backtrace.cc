// Frames as lines: number, address, function and offset, file.
#include "backtrace/backtrace.h"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "backtrace/unwinder.h"

namespace stasis::cli {
namespace {

constexpr size_t kLongestMangledName = 4096;  // longer ones are hostile or unreadable

std::string demangled(std::string_view name) {
  // Debugging files name versions of a symbol: "clock_nanosleep@GLIBC_2.2.5".
  const std::string copy(name.substr(0, name.find('@')));
  if (!copy.starts_with("_Z") || copy.size() > kLongestMangledName) return copy;
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(copy.c_str(), nullptr, nullptr, &status), &std::free);
  return status == 0 && text != nullptr ? std::string(text.get()) : copy;
}

// What an image gives as text may hold control characters: none of them reach the terminal.
std::string printable(std::string_view text) {
  std::string clean;
  for (const char c : text) {
    clean += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return clean;
}

// "function+0x1e", or empty.
std::string function_at(Module& module, u64 linked_address, u64 looked_up) {
  for (auto* elf : {&module.debug, &module.elf}) {
    if (!*elf) continue;
    if (const ElfFile::Symbol* symbol = (*elf)->symbol_at(looked_up)) {
      return fmt::format("{}+{:#x}", demangled((*elf)->name_of(*symbol)),
                         linked_address - symbol->address);
    }
  }
  return {};
}

std::string describe(const Frame& frame, const SavedMemory& memory, Modules& modules) {
  const model::Vma* vma = memory.area_at(frame.address);
  if (vma == nullptr) return "(not mapped)";
  Module* module = modules.of(*vma);
  if (module == nullptr) {
    return fmt::format("({})", vma->name.empty() ? "anonymous memory" : printable(vma->name));
  }
  std::string where = printable(module->name);
  if (module->elf) {
    const bool executable = (vma->protection & 4U) != 0;  // PROT_EXEC
    const u64 offset = vma->kind == model::VmaKind::kVdso ? 0 : vma->offset;
    if (const auto bias = module->elf->bias(vma->start.value, offset, executable)) {
      const u64 linked = frame.address - *bias;
      const std::string function = function_at(*module, linked, frame.exact ? linked : linked - 1);
      if (!function.empty()) return fmt::format("{} ({})", printable(function), where);
      return fmt::format("({}+{:#x})", where, linked);
    }
  }
  return fmt::format("({})", where);
}

std::string thread_lines(const model::Thread& thread, SavedMemory& memory, Modules& modules) {
  std::string text = fmt::format("  thread {} \"{}\"\n", thread.tid, printable(thread.name));
  if (thread.zombie) return text + "    (has ended; the process goes on without it)\n";
  const auto walk = walk_stack(thread, memory, modules);
  if (!walk) return text + fmt::format("    ({})\n", walk.error().message());
  for (size_t i = 0; i < walk->frames.size(); ++i) {
    const Frame& frame = walk->frames[i];
    text += fmt::format("    #{:<2} {:#018x} {}{}\n", i, frame.address,
                        describe(frame, memory, modules),
                        frame.signal_frame ? " <signal handler called>" : "");
  }
  if (walk->end == WalkEnd::kNoInformation) text += "    (no unwind information beyond here)\n";
  if (walk->end == WalkEnd::kTooDeep) text += "    (deeper than is shown)\n";
  return text;
}

}  // namespace

std::string backtraces(const model::Image& image, model::PageSource& pages) {
  std::string text;
  Modules modules(image, pages);
  for (const model::Process& process : image.processes) {
    const std::string name =
        process.threads.empty() ? std::string() : printable(process.threads[0].name);
    text += fmt::format("process {} ({})\n", process.pid, name);
    SavedMemory memory(process.memory, modules);
    for (const model::Thread& thread : process.threads) {
      text += thread_lines(thread, memory, modules);
    }
  }
  for (const auto& [key, module] : modules.all()) {
    if (module->note.empty()) continue;
    text += fmt::format("note: {} {}: its functions are not named\n", printable(module->name),
                        module->note);
  }
  return text;
}

std::string backtraces(const model::Image& image, model::PageSource& pages,
                       std::span<const Pid> tids) {
  std::string text;
  Modules modules(image, pages);
  for (const model::Process& process : image.processes) {
    SavedMemory memory(process.memory, modules);
    for (const model::Thread& thread : process.threads) {
      if (std::ranges::find(tids, thread.tid) == tids.end()) continue;
      text += thread_lines(thread, memory, modules);
    }
  }
  return text;
}

}  // namespace stasis::cli
