// Descriptors that follow cr_restart's own, as with BLCR: terminals, and pipes whose other end is a
// program outside. cr_restart's are those that are open here and would survive an exec; all that
// the engine opens itself is close-on-exec, so it never is mistaken for one.
#pragma once

#include <optional>
#include <vector>

#include "resource/handler.h"

namespace stasis::resource {

// Whether cr_restart was given a descriptor of this number.
bool requester_has(int number);
// The numbers under which the image has this open file, ascending, each once.
std::vector<int> numbers_of(const model::Image& image, model::OpenFileIndex open_file);
// The first of them that cr_restart has too.
std::optional<int> followed_number(const model::Image& image, model::OpenFileIndex open_file);

// cr_restart's descriptor `number` for an open file saved with `flags`. Shared with cr_restart if
// it blocks as the saved one did; else opened again where possible, so that cr_restart's own keeps
// its flags.
Result<UniqueFd> follow(int number, u32 flags, const std::string& subject, RestoreContext& context);

// Whether the open file follows cr_restart's: nothing of its saved state is put into it then.
bool follows_requester(const model::Resource& resource);

}  // namespace stasis::resource
