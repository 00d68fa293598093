// socket(2), bind(2), listen(2), accept4(2) and their options. Addresses come as `struct sockaddr` bytes.
#include <linux/sockios.h>
#include <linux/time_types.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "args.h"
#include "exports.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

namespace berthd {
namespace {

const sockaddr* AsAddress(const Span<uint8_t>& bytes) { return reinterpret_cast<const sockaddr*>(bytes.data); }

Napi::Value Socket(const Napi::CallbackInfo& info) {
  int32_t domain, type, protocol;
  if (!Arguments(info, &domain, &type, &protocol)) return info.Env().Undefined();
  return Outcome(info, ::socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
}

Napi::Value SocketPair(const Napi::CallbackInfo& info) {
  int32_t domain, type;
  Span<int32_t> pair;
  if (!Arguments(info, &domain, &type, &pair)) return info.Env().Undefined();
  if (pair.length < 2) {
    Refuse(info, 2, "an Int32Array of two");
    return info.Env().Undefined();
  }
  return Outcome(info, ::socketpair(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data));
}

Napi::Value Bind(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint8_t> address;
  if (!Arguments(info, &fd, &address)) return info.Env().Undefined();
  return Outcome(info, ::bind(fd, AsAddress(address), static_cast<socklen_t>(address.length)));
}

Napi::Value Connect(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint8_t> address;
  if (!Arguments(info, &fd, &address)) return info.Env().Undefined();
  return Outcome(info, RetryOnEintr([&] {
                   return ::connect(fd, AsAddress(address), static_cast<socklen_t>(address.length));
                 }));
}

Napi::Value Listen(const Napi::CallbackInfo& info) {
  int32_t fd, backlog;
  if (!Arguments(info, &fd, &backlog)) return info.Env().Undefined();
  return Outcome(info, ::listen(fd, backlog));
}

Napi::Value Accept(const Napi::CallbackInfo& info) {
  int32_t fd;
  if (!Arguments(info, &fd)) return info.Env().Undefined();
  return Outcome(info, RetryOnEintr([&] { return ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); }));
}

Napi::Value Shutdown(const Napi::CallbackInfo& info) {
  int32_t fd, how;
  if (!Arguments(info, &fd, &how)) return info.Env().Undefined();
  return Outcome(info, ::shutdown(fd, how));
}

template <int (*Call)(int, sockaddr*, socklen_t*)>
Napi::Value Name(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint8_t> address;
  if (!Arguments(info, &fd, &address)) return info.Env().Undefined();
  socklen_t length = static_cast<socklen_t>(address.length);
  int result = Call(fd, reinterpret_cast<sockaddr*>(address.data), &length);
  return Outcome(info, result < 0 ? -1 : static_cast<int>(length));
}

int GetSockName(int fd, sockaddr* address, socklen_t* length) { return ::getsockname(fd, address, length); }
int GetPeerName(int fd, sockaddr* address, socklen_t* length) { return ::getpeername(fd, address, length); }

Napi::Value SetOption(const Napi::CallbackInfo& info) {
  int32_t fd, level, option, number;
  uint32_t bits;
  if (!Arguments(info, &fd, &level, &option)) return info.Env().Undefined();
  if (info[3].IsNumber()) {
    // An unsigned option, such as SO_MARK, is the same four bytes.
    bool negative = info[3].As<Napi::Number>().DoubleValue() < 0;
    if (!(negative ? Read(info, 3, &number) : Read(info, 3, &bits))) return info.Env().Undefined();
    if (negative) bits = static_cast<uint32_t>(number);
    return Outcome(info, ::setsockopt(fd, level, option, &bits, sizeof(bits)));
  }
  Span<uint8_t> bytes;
  if (!Read(info, 3, &bytes)) return info.Env().Undefined();
  return Outcome(info, ::setsockopt(fd, level, option, bytes.data, static_cast<socklen_t>(bytes.length)));
}

Napi::Value GetOption(const Napi::CallbackInfo& info) {
  int32_t fd, level, option;
  Span<int32_t> value;
  if (!Arguments(info, &fd, &level, &option, &value)) return info.Env().Undefined();
  if (value.length < 1) {
    Refuse(info, 3, "an Int32Array of at least one");
    return info.Env().Undefined();
  }
  socklen_t length = static_cast<socklen_t>(value.length * sizeof(int32_t));
  return Outcome(info, ::getsockopt(fd, level, option, value.data, &length));
}

Napi::Value PeerCredentials(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<int32_t> out;
  if (!Arguments(info, &fd, &out)) return info.Env().Undefined();
  if (out.length < 3) {
    Refuse(info, 1, "an Int32Array of three");
    return info.Env().Undefined();
  }
  ucred credentials;
  socklen_t length = sizeof(credentials);
  int result = ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length);
  if (result == 0) {
    out.data[0] = credentials.pid;
    out.data[1] = static_cast<int32_t>(credentials.uid);
    out.data[2] = static_cast<int32_t>(credentials.gid);
  }
  return Outcome(info, result);
}

Napi::Value PeerGroups(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint32_t> groups;
  if (!Arguments(info, &fd, &groups)) return info.Env().Undefined();
  static_assert(sizeof(gid_t) == sizeof(uint32_t));
  socklen_t length = static_cast<socklen_t>(groups.length * sizeof(gid_t));
  int result = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data, &length);
  // ERANGE: the array is too small, and `length` says what it takes.
  if (result == 0 || errno == ERANGE) result = static_cast<int>(length / sizeof(gid_t));
  return Outcome(info, result);
}

Napi::Value LastReceived(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<int32_t> stamp;
  if (!Arguments(info, &fd, &stamp)) return info.Env().Undefined();
  __kernel_timespec time;
  if (stamp.length * sizeof(int32_t) < sizeof(time)) {
    Refuse(info, 1, "an Int32Array of four");
    return info.Env().Undefined();
  }
  int result = ::ioctl(fd, SIOCGSTAMPNS_NEW, &time);
  if (result == 0) std::memcpy(stamp.data, &time, sizeof(time));
  return Outcome(info, result);
}

Napi::Value InterfaceIndex(const Napi::CallbackInfo& info) {
  std::string name;
  if (!Arguments(info, &name)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), ::if_nametoindex(name.c_str()));
}

}  // namespace

void ExportSocket(Napi::Env env, Napi::Object exports) {
  Export<Socket>(env, exports, "socket");
  Export<SocketPair>(env, exports, "socketpair");
  Export<Bind>(env, exports, "bind");
  Export<Connect>(env, exports, "connect");
  Export<Listen>(env, exports, "listen");
  Export<Accept>(env, exports, "accept");
  Export<Shutdown>(env, exports, "shutdown");
  Export<Name<GetSockName>>(env, exports, "getsockname");
  Export<Name<GetPeerName>>(env, exports, "getpeername");
  Export<SetOption>(env, exports, "setsockopt");
  Export<GetOption>(env, exports, "getsockopt");
  Export<PeerCredentials>(env, exports, "peercred");
  Export<PeerGroups>(env, exports, "peergroups");
  Export<LastReceived>(env, exports, "lastReceived");
  Export<InterfaceIndex>(env, exports, "ifindex");
}

}  // namespace berthd
