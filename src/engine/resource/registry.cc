// The table of all handlers, and the look-ups in it. The first that recognises a descriptor is its
// handler, so kinds that look like regular files (memfds) stand before them.
#include <array>

#include "resource/kinds.h"

namespace stasis::resource {
namespace {

constexpr std::array<const Handler*, std::variant_size_v<model::Resource>> kHandlers = {
    &kMemfdHandler,       &kRegularFileHandler, &kDirectoryHandler, &kDeviceHandler,
    &kTerminalHandler,    &kPipeHandler,        &kEventFdHandler,   &kEpollHandler,
    &kTimerFdHandler,     &kSignalFdHandler,    &kInotifyHandler,   &kPidFdHandler,
    &kSharedMemoryHandler};

}  // namespace

std::span<const Handler* const> handlers() {
  return kHandlers;
}

const Handler* handler_of(const model::Resource& resource) {
  const std::string_view kind = std::visit([](const auto& r) { return r.kKind; }, resource);
  for (const Handler* handler : kHandlers) {
    if (handler->kind == kind) return handler;
  }
  return nullptr;
}

const Handler* handler_for(const FdFacts& facts) {
  for (const Handler* handler : kHandlers) {
    if (handler->recognises(facts)) return handler;
  }
  return nullptr;
}

}  // namespace stasis::resource
