// A carried file that had another name in the image: two names of one file stay that.
#pragma once

#include <optional>

#include "resource/handler.h"

namespace stasis::resource {

// The other name of the same file that comes first, or is found in place; nullopt: there is none,
// or it is for `resource` to be made.
std::optional<model::ResourceIndex> first_name_of(model::ResourceIndex resource,
                                                  const RestoreContext& context);

// Makes the name of `resource` a link to the file behind `fd`, whose own name is `other`. The
// descriptor bears the new name and is opened for writing where that is allowed.
Result<UniqueFd> link_to(int fd, model::ResourceIndex other, model::ResourceIndex resource,
                         RestoreContext& context);

}  // namespace stasis::resource
