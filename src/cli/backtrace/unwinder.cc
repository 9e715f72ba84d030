// libunwind's side: an address space whose accessors know nothing but the image. Tables are found
// by the .eh_frame_hdr of the file behind the area: its sorted table is searched by libunwind, and
// all its bytes are read through SavedMemory, so the image's own pages win.
#include "backtrace/unwinder.h"

#include <libunwind.h>

#include <optional>

#include "arch/unwind.h"

// libunwind exports its table search under the name of the architecture but declares it nowhere
// public; perf and others use it in this way, too.
extern "C" int UNW_OBJ(dwarf_search_unwind_table)(unw_addr_space_t, unw_word_t, unw_dyn_info_t*,
                                                  unw_proc_info_t*, int, void*);

namespace stasis::cli {
namespace {

constexpr size_t kMostFrames = 512;
constexpr u64 kMostReads = 2'000'000;  // of a walk; ordinary frames take some hundred each

// What the accessors are given as their argument.
struct WalkState {
  SavedMemory& memory;
  Modules& modules;
  arch::Registers registers;
  u64 reads = 0;

  std::optional<u64> word(u64 address) {
    if (++reads > kMostReads) return std::nullopt;
    return memory.word(address);
  }
};

WalkState& state_of(void* argument) {
  return *static_cast<WalkState*>(argument);
}

// The part of .eh_frame_hdr before its table, which is 12 bytes in the encodings that linkers use:
// version 1, pointer encoding, count as udata4, table of sdata4 pairs relative to the header.
std::optional<unw_dyn_info_t> table_of(const model::Vma& vma, const Module& module,
                                       WalkState& state) {
  constexpr u64 kHeaderLength = 12;
  constexpr u32 kUdata4 = 0x03, kDatarelSdata4 = 0x3b;
  if (!module.elf || !module.elf->eh_frame_header()) return std::nullopt;
  const bool executable = (vma.protection & 4U) != 0;  // PROT_EXEC
  const u64 offset = vma.kind == model::VmaKind::kVdso ? 0 : vma.offset;
  const auto bias = module.elf->bias(vma.start.value, offset, executable);
  if (!bias) return std::nullopt;
  const ElfFile::Range range = *module.elf->eh_frame_header();
  const u64 header = *bias + range.address;
  const auto first = state.word(header);
  const auto second = state.word(header + 8);
  if (!first || !second) return std::nullopt;
  const auto encoding = [&first](int index) {
    return static_cast<u32>(*first >> (8 * index)) & 0xff;
  };
  if (encoding(0) != 1 || encoding(2) != kUdata4 || encoding(3) != kDatarelSdata4) {
    return std::nullopt;
  }
  const u64 count = *second & 0xffffffff;
  if (range.size < kHeaderLength || count > (range.size - kHeaderLength) / 8) return std::nullopt;
  unw_dyn_info_t info = {};
  info.start_ip = vma.start.value;
  info.end_ip = vma.end.value;
  info.format = UNW_INFO_FORMAT_REMOTE_TABLE;
  info.u.rti.segbase = header;
  info.u.rti.table_data = header + kHeaderLength;
  info.u.rti.table_len = count * 8 / sizeof(unw_word_t);
  return info;
}

int find_proc_info(unw_addr_space_t space, unw_word_t address, unw_proc_info_t* out, int need,
                   void* argument) {
  WalkState& state = state_of(argument);
  const model::Vma* vma = state.memory.area_at(address);
  Module* module = vma == nullptr ? nullptr : state.modules.of(*vma);
  if (module == nullptr) return -UNW_ENOINFO;
  auto info = table_of(*vma, *module, state);
  if (!info) return -UNW_ENOINFO;
  return UNW_OBJ(dwarf_search_unwind_table)(space, address, &*info, out, need, argument);
}

void put_unwind_info(unw_addr_space_t, unw_proc_info_t*, void*) {}

int get_dyn_info_list(unw_addr_space_t, unw_word_t*, void*) {
  return -UNW_ENOINFO;
}

int access_memory(unw_addr_space_t, unw_word_t address, unw_word_t* value, int write,
                  void* argument) {
  if (write != 0) return -UNW_EINVAL;
  const auto word = state_of(argument).word(address);
  if (!word) return -UNW_EINVAL;
  *value = *word;
  return 0;
}

int access_register(unw_addr_space_t, unw_regnum_t number, unw_word_t* value, int write,
                    void* argument) {
  if (write != 0) return -UNW_EREADONLYREG;
  const auto found = arch::dwarf_register(state_of(argument).registers, number);
  if (!found) return -UNW_EBADREG;
  *value = *found;
  return 0;
}

int access_float(unw_addr_space_t, unw_regnum_t, unw_fpreg_t*, int, void*) {
  return -UNW_EBADREG;
}

int resume(unw_addr_space_t, unw_cursor_t*, void*) {
  return -UNW_EINVAL;
}

int name_of(unw_addr_space_t, unw_word_t, char*, size_t, unw_word_t*, void*) {
  return -UNW_ENOINFO;
}

using SpaceOwner = std::unique_ptr<std::remove_pointer_t<unw_addr_space_t>,
                                   decltype([](unw_addr_space_t s) { unw_destroy_addr_space(s); })>;

SpaceOwner make_space() {
  unw_accessors_t accessors = {};
  accessors.find_proc_info = find_proc_info;
  accessors.put_unwind_info = put_unwind_info;
  accessors.get_dyn_info_list_addr = get_dyn_info_list;
  accessors.access_mem = access_memory;
  accessors.access_reg = access_register;
  accessors.access_fpreg = access_float;
  accessors.resume = resume;
  accessors.get_proc_name = name_of;
  return SpaceOwner(unw_create_addr_space(&accessors, 0));
}

// The frame the cursor is at. False: there is none (address 0).
bool add_frame(unw_cursor_t& cursor, Walk& walk) {
  unw_word_t address = 0;
  if (unw_get_reg(&cursor, UNW_REG_IP, &address) != 0 || address == 0) return false;
  Frame frame;
  frame.address = address;
  frame.exact = walk.frames.empty() || walk.frames.back().signal_frame;
  frame.signal_frame = unw_is_signal_frame(&cursor) > 0;
  walk.frames.push_back(frame);
  return true;
}

}  // namespace

Result<Walk> walk_stack(const model::Thread& thread, SavedMemory& memory, Modules& modules) {
  WalkState state{.memory = memory,
                  .modules = modules,
                  .registers = TRY(arch::from_bytes(thread.registers.general))};
  const SpaceOwner space = make_space();
  unw_cursor_t cursor;
  if (space == nullptr || unw_init_remote(&cursor, space.get(), &state) != 0) {
    return fail(EINVAL, "libunwind cannot start from the saved registers");
  }
  Walk walk;
  while (add_frame(cursor, walk)) {
    if (walk.frames.size() >= kMostFrames) {
      walk.end = WalkEnd::kTooDeep;
      break;
    }
    const int step = unw_step(&cursor);
    if (step < 0) walk.end = WalkEnd::kNoInformation;
    if (step <= 0) break;
  }
  return walk;
}

}  // namespace stasis::cli
