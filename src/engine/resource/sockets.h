// What a socket is, in words, for the refusal: "a listening TCP socket on 127.0.0.1:6379".
#pragma once

#include <string>

#include "resource/handler.h"

namespace stasis::resource {

std::string describe_socket(const FdFacts& facts);

}  // namespace stasis::resource
