// What an image may ask for when it is not root's, and what nobody but root gives.
#include <linux/capability.h>

#include "restart/validate.h"

namespace stasis::restart {
namespace {

constexpr u64 bit(int capability) {
  return u64{1} << capability;
}

}  // namespace

Machine for_the_user(Machine machine) {
  constexpr u64 kBecoming = bit(CAP_SETUID) | bit(CAP_SETGID) | bit(CAP_SETPCAP);
  machine.credentials.effective &= kBecoming;
  machine.credentials.permitted &= kBecoming;
  return machine;
}

}  // namespace stasis::restart
