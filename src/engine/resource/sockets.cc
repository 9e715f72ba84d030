// Describing sockets: asked of a duplicate with getters, or, where there is none (Yama), looked up
// by inode in /proc/PID/net. It only reads.
// Essay: docs/design/sockets.md.
#include "resource/sockets.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <sstream>

#include "base/sys.h"

namespace stasis::resource {
namespace {

int option(int fd, int name, int otherwise) {
  int value = 0;
  socklen_t length = sizeof value;
  return ::getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : otherwise;
}

std::string family_name(int family) {
  switch (family) {
    case AF_UNIX:
      return "Unix";
    case AF_INET:
    case AF_INET6:
      return "IP";
    case AF_NETLINK:
      return "netlink";
    case AF_PACKET:
      return "packet";
    case AF_VSOCK:
      return "vsock";
    case AF_ALG:
      return "crypto (AF_ALG)";
    case AF_BLUETOOTH:
      return "Bluetooth";
    case AF_CAN:
      return "CAN";
    default:
      return fmt::format("address family {}", family);
  }
}

std::string kind_name(int family, int type) {
  const bool internet = family == AF_INET || family == AF_INET6;
  if (internet && type == SOCK_STREAM) return "TCP";
  if (internet && type == SOCK_DGRAM) return "UDP";
  if (internet && type == SOCK_RAW) return "raw IP";
  const std::string name = family_name(family);
  if (family != AF_UNIX) return name;
  switch (type) {
    case SOCK_STREAM:
      return name + " stream";
    case SOCK_DGRAM:
      return name + " datagram";
    case SOCK_SEQPACKET:
      return name + " packet";
    default:
      return name;
  }
}

using Address = std::array<std::byte, sizeof(sockaddr_storage)>;

template <class T>
T as(const Address& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

std::string unix_name(const Address& bytes, size_t length) {
  constexpr size_t kStart = offsetof(sockaddr_un, sun_path);
  if (length <= kStart) return {};
  std::string path;
  for (size_t i = kStart; i < length; ++i) path += static_cast<char>(bytes[i]);
  if (path.front() == '\0') return "@" + path.substr(1);
  return path.substr(0, path.find('\0'));
}

std::string name_address(const Address& bytes, size_t length) {
  std::array<char, INET6_ADDRSTRLEN> text = {};
  const auto family = as<sockaddr>(bytes).sa_family;
  if (family == AF_INET) {
    const auto in = as<sockaddr_in>(bytes);
    ::inet_ntop(AF_INET, &in.sin_addr, text.data(), text.size());
    return fmt::format("{}:{}", text.data(), ntohs(in.sin_port));
  }
  if (family == AF_INET6) {
    const auto in = as<sockaddr_in6>(bytes);
    ::inet_ntop(AF_INET6, &in.sin6_addr, text.data(), text.size());
    return fmt::format("[{}]:{}", text.data(), ntohs(in.sin6_port));
  }
  return family == AF_UNIX ? unix_name(bytes, length) : std::string();
}

template <class Ask>
std::string address(int fd, Ask ask) {
  Address bytes = {};
  socklen_t length = bytes.size();
  void* start = bytes.data();
  if (ask(fd, static_cast<sockaddr*>(start), &length) != 0) return {};
  return name_address(bytes, length);
}

std::string ask_socket(int fd) {
  const int family = option(fd, SO_DOMAIN, 0);
  const std::string kind = kind_name(family, option(fd, SO_TYPE, 0));
  const std::string local = address(fd, ::getsockname);
  if (option(fd, SO_ACCEPTCONN, 0) != 0) {
    return fmt::format("a listening {} socket on {}", kind, local.empty() ? "no name" : local);
  }
  Address peer = {};
  socklen_t length = peer.size();
  void* start = peer.data();
  const bool connected = ::getpeername(fd, static_cast<sockaddr*>(start), &length) == 0;
  if (connected && family == AF_UNIX && local.empty() && name_address(peer, length).empty()) {
    return fmt::format("one end of a {} socket pair", kind);
  }
  if (connected) {
    return fmt::format("a {} connection from {} to {}", kind, local.empty() ? "no name" : local,
                       name_address(peer, length));
  }
  return local.empty() || local.ends_with(":0") ? fmt::format("an unconnected {} socket", kind)
                                                : fmt::format("a {} socket on {}", kind, local);
}

// Whether a table of /proc/PID/net has the inode as a word of one of its lines.
bool table_has(Pid pid, std::string_view table, const std::string& inode) {
  const auto text = sys::read_file(fmt::format("/proc/{}/net/{}", pid, table));
  if (!text) return false;
  std::istringstream words(*text);
  for (std::string word; words >> word;) {
    if (word == inode) return true;
  }
  return false;
}

std::string look_up(const FdFacts& facts) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kTables = {
      {{"tcp", "a TCP socket"},
       {"tcp6", "a TCP socket"},
       {"udp", "a UDP socket"},
       {"udp6", "a UDP socket"},
       {"unix", "a Unix socket"},
       {"netlink", "a netlink socket"},
       {"packet", "a packet socket"},
       {"raw", "a raw IP socket"}}};
  const std::string inode = fmt::format("{}", facts.status.st_ino);
  for (const auto& [table, name] : kTables) {
    if (table_has(facts.pid, table, inode)) return std::string(name);
  }
  return "a socket";
}

}  // namespace

std::string describe_socket(const FdFacts& facts) {
  return facts.duplicate ? ask_socket(facts.duplicate.get()) : look_up(facts);
}

}  // namespace stasis::resource
