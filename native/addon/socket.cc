// socket(2), bind(2), listen(2), accept4(2) and their options. Addresses come as `struct sockaddr` bytes.
#include <linux/sockios.h>
#include <linux/time_types.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstring>

#include "args.h"
#include "exports.h"

// Linux 4.3, in linux/un.h, which sys/un.h does not go with.
#ifndef SIOCUNIXFILE
#define SIOCUNIXFILE (SIOCPROTOPRIVATE + 0)
#endif
#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

namespace berthd {
namespace {

const sockaddr* asAddress(const Span<uint8_t>& bytes) { return reinterpret_cast<const sockaddr*>(bytes.data); }

Napi::Value makeSocket(const Napi::CallbackInfo& info) {
  int32_t domain, type, protocol;
  if (!readArguments(info, &domain, &type, &protocol)) return info.Env().Undefined();
  return outcome(info, ::socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
}

Napi::Value makeSocketPair(const Napi::CallbackInfo& info) {
  int32_t domain, type;
  Span<int32_t> pair;
  if (!readArguments(info, &domain, &type, &pair)) return info.Env().Undefined();
  if (pair.length < 2) {
    refuse(info, 2, "an Int32Array of two");
    return info.Env().Undefined();
  }
  return outcome(info, ::socketpair(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair.data));
}

Napi::Value bind(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint8_t> address;
  if (!readArguments(info, &fd, &address)) return info.Env().Undefined();
  return outcome(info, ::bind(fd, asAddress(address), static_cast<socklen_t>(address.length)));
}

Napi::Value connect(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint8_t> address;
  if (!readArguments(info, &fd, &address)) return info.Env().Undefined();
  return outcome(info, retryOnEintr([&] {
                   return ::connect(fd, asAddress(address), static_cast<socklen_t>(address.length));
                 }));
}

Napi::Value listen(const Napi::CallbackInfo& info) {
  int32_t fd, backlog;
  if (!readArguments(info, &fd, &backlog)) return info.Env().Undefined();
  return outcome(info, ::listen(fd, backlog));
}

Napi::Value accept(const Napi::CallbackInfo& info) {
  int32_t fd;
  if (!readArguments(info, &fd)) return info.Env().Undefined();
  return outcome(info, retryOnEintr([&] { return ::accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); }));
}

Napi::Value shutdown(const Napi::CallbackInfo& info) {
  int32_t fd, how;
  if (!readArguments(info, &fd, &how)) return info.Env().Undefined();
  return outcome(info, ::shutdown(fd, how));
}

template <int (*Call)(int, sockaddr*, socklen_t*)>
Napi::Value socketName(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint8_t> address;
  if (!readArguments(info, &fd, &address)) return info.Env().Undefined();
  socklen_t length = static_cast<socklen_t>(address.length);
  int result = Call(fd, reinterpret_cast<sockaddr*>(address.data), &length);
  return outcome(info, result < 0 ? -1 : static_cast<int>(length));
}

int getSockName(int fd, sockaddr* address, socklen_t* length) { return ::getsockname(fd, address, length); }
int getPeerName(int fd, sockaddr* address, socklen_t* length) { return ::getpeername(fd, address, length); }

Napi::Value setOption(const Napi::CallbackInfo& info) {
  int32_t fd, level, option, number;
  uint32_t bits;
  if (!readArguments(info, &fd, &level, &option)) return info.Env().Undefined();
  if (info[3].IsNumber()) {
    // An unsigned option, such as SO_MARK, is the same four bytes.
    bool negative = info[3].As<Napi::Number>().DoubleValue() < 0;
    if (!(negative ? readArgument(info, 3, &number) : readArgument(info, 3, &bits))) return info.Env().Undefined();
    if (negative) bits = static_cast<uint32_t>(number);
    return outcome(info, ::setsockopt(fd, level, option, &bits, sizeof(bits)));
  }
  Span<uint8_t> bytes;
  if (!readArgument(info, 3, &bytes)) return info.Env().Undefined();
  return outcome(info, ::setsockopt(fd, level, option, bytes.data, static_cast<socklen_t>(bytes.length)));
}

Napi::Value getOption(const Napi::CallbackInfo& info) {
  int32_t fd, level, option;
  Span<int32_t> value;
  if (!readArguments(info, &fd, &level, &option, &value)) return info.Env().Undefined();
  if (value.length < 1) {
    refuse(info, 3, "an Int32Array of at least one");
    return info.Env().Undefined();
  }
  socklen_t length = static_cast<socklen_t>(value.length * sizeof(int32_t));
  return outcome(info, ::getsockopt(fd, level, option, value.data, &length));
}

// `asked` has [level, option, ints] for each option; `values` gets [result, ints …] for each.
Napi::Value getOptions(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<int32_t> asked, values;
  if (!readArguments(info, &fd, &asked, &values)) return info.Env().Undefined();
  size_t at = 0, count = 0;
  for (size_t i = 0; i + 2 < asked.length; i += 3) {
    const int32_t words = asked.data[i + 2];
    if (words < 0 || values.length - at < 1 + static_cast<size_t>(words)) break;
    auto length = static_cast<socklen_t>(static_cast<size_t>(words) * sizeof(int32_t));
    int32_t* const value = values.data + at + 1;
    std::memset(value, 0, length);
    const int result = ::getsockopt(fd, asked.data[i], asked.data[i + 1], value, &length);
    values.data[at] = result < 0 ? -errno : result;
    at += 1 + static_cast<size_t>(words);
    count++;
  }
  return Napi::Number::New(info.Env(), static_cast<double>(count));
}

Napi::Value peerCredentials(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<int32_t> out;
  if (!readArguments(info, &fd, &out)) return info.Env().Undefined();
  if (out.length < 3) {
    refuse(info, 1, "an Int32Array of three");
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
  return outcome(info, result);
}

Napi::Value peerGroups(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint32_t> groups;
  if (!readArguments(info, &fd, &groups)) return info.Env().Undefined();
  static_assert(sizeof(gid_t) == sizeof(uint32_t));
  socklen_t length = static_cast<socklen_t>(groups.length * sizeof(gid_t));
  int result = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data, &length);
  // ERANGE: the array is too small, and `length` says what it takes.
  if (result == 0 || errno == ERANGE) result = static_cast<int>(length / sizeof(gid_t));
  return outcome(info, result);
}

Napi::Value openUnixFile(const Napi::CallbackInfo& info) {
  int32_t fd;
  if (!readArguments(info, &fd)) return info.Env().Undefined();
  return outcome(info, ::ioctl(fd, SIOCUNIXFILE));
}

Napi::Value lastReceived(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<int32_t> stamp;
  if (!readArguments(info, &fd, &stamp)) return info.Env().Undefined();
  __kernel_timespec time;
  if (stamp.length * sizeof(int32_t) < sizeof(time)) {
    refuse(info, 1, "an Int32Array of four");
    return info.Env().Undefined();
  }
  int result = ::ioctl(fd, SIOCGSTAMPNS_NEW, &time);
  if (result == 0) std::memcpy(stamp.data, &time, sizeof(time));
  return outcome(info, result);
}

Napi::Value interfaceIndex(const Napi::CallbackInfo& info) {
  std::string name;
  if (!readArguments(info, &name)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), ::if_nametoindex(name.c_str()));
}

}  // namespace

void exportSocket(Napi::Env env, Napi::Object exports) {
  exportFunction<makeSocket>(env, exports, "socket");
  exportFunction<makeSocketPair>(env, exports, "socketpair");
  exportFunction<bind>(env, exports, "bind");
  exportFunction<connect>(env, exports, "connect");
  exportFunction<listen>(env, exports, "listen");
  exportFunction<accept>(env, exports, "accept");
  exportFunction<shutdown>(env, exports, "shutdown");
  exportFunction<socketName<getSockName>>(env, exports, "getsockname");
  exportFunction<socketName<getPeerName>>(env, exports, "getpeername");
  exportFunction<setOption>(env, exports, "setsockopt");
  exportFunction<getOption>(env, exports, "getsockopt");
  exportFunction<getOptions>(env, exports, "getsockopts");
  exportFunction<peerCredentials>(env, exports, "peercred");
  exportFunction<peerGroups>(env, exports, "peergroups");
  exportFunction<openUnixFile>(env, exports, "unixFile");
  exportFunction<lastReceived>(env, exports, "lastReceived");
  exportFunction<interfaceIndex>(env, exports, "ifindex");
}

}  // namespace berthd
