// sendmsg(2) and recvmsg(2) with SCM_RIGHTS (unix(7), cmsg(3)).
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "args.h"
#include "close-foreign.h"
#include "common/rights.h"
#include "exports.h"

namespace berthd {
namespace {

// Linux 6.5; the headers may be older.
constexpr int kScmPidfd = 4;

// Room for who sent a message: its credentials and a pidfd.
constexpr size_t kSenderSpace = CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int));

// For the calls of each message. libc's sendmsg, recvmsg and recv are cancellation points, which costs a tenth of a
// microsecond each in a process with threads (pthreads(7)). None of our threads is ever cancelled.
ssize_t sendNow(int socket, const msghdr& message, int flags) {
  return retryOnEintr([&] { return ::syscall(SYS_sendmsg, socket, &message, flags | MSG_NOSIGNAL | MSG_DONTWAIT); });
}

ssize_t receiveNow(int socket, msghdr& message, int flags) {
  return retryOnEintr([&] { return ::syscall(SYS_recvmsg, socket, &message, flags | MSG_DONTWAIT); });
}

ssize_t receiveNow(int socket, void* data, size_t length) {
  return retryOnEintr([&] { return ::syscall(SYS_recvfrom, socket, data, length, MSG_DONTWAIT, nullptr, nullptr); });
}

Napi::Value sendMessage(const Napi::CallbackInfo& info) {
  int32_t socket, offset, count;
  Span<uint8_t> data;
  Span<int32_t> fds;
  if (!readArguments(info, &socket, &data, &offset, &fds, &count)) return info.Env().Undefined();
  // A stream never sends fds with a message of no bytes, and says nothing about it (unix(7)).
  bool fits = offset >= 0 && static_cast<size_t>(offset) < data.length && count >= 0 &&
              static_cast<size_t>(count) <= fds.length && static_cast<size_t>(count) <= kMaxFds;
  if (!fits) return Napi::Number::New(info.Env(), -EINVAL);

  iovec part = {data.data + offset, data.length - static_cast<size_t>(offset)};
  msghdr message = messageOf(part);
  ControlBuffer<> control;
  if (count > 0) attachFds(message, control, fds.data, static_cast<size_t>(count));
  return outcome(info, sendNow(socket, message, 0));
}

// Who sent a message, as far as the kernel says: pid, uid and gid into `sender` unless it is null, and a pidfd.
UniqueFd takeSender(msghdr& message, int32_t* sender) {
  UniqueFd pidfd;
  forEachControl(message, [&](cmsghdr& header) {
    if (header.cmsg_type == SCM_CREDENTIALS && sender != nullptr) {
      ucred credentials;
      std::memcpy(&credentials, CMSG_DATA(&header), sizeof credentials);
      sender[0] = credentials.pid;
      sender[1] = static_cast<int32_t>(credentials.uid);
      sender[2] = static_cast<int32_t>(credentials.gid);
    } else if (header.cmsg_type == kScmPidfd) {
      int number;
      std::memcpy(&number, CMSG_DATA(&header), sizeof number);
      pidfd.reset(number);  // negative when the sender is gone
    }
  });
  return pidfd;
}

// Receives into `part`. Every fd that came is owned before anything about the message is judged; what does not fit
// `received` is closed, and a truncated message closes all of them: its fds cannot be told apart from their absence.
// With `sender`, who sent it: pid, uid, gid and a pidfd, as far as the kernel said.
template <size_t Extra>
Napi::Value receive(const Napi::CallbackInfo& info, int socket, iovec part, Span<int32_t> received,
                    int32_t* sender = nullptr, int flags = 0) {
  msghdr message = messageOf(part);
  ControlBuffer<Extra> control;
  received.data[0] = 0;
  received.data[1] = 0;
  const ssize_t size = receiveMessage(socket, message, control, flags);
  if (size < 0) return outcome(info, size);

  const size_t room = received.length - 2;
  size_t kept = 0;
  bool tooMany = false;
  const bool isComplete = takeFds(message, [&](UniqueFd fd) {
    if (kept < room) {
      received.data[2 + kept++] = fd.release();
    } else {
      tooMany = true;
      closeForeign(fd.release());
    }
  });
  UniqueFd pidfd = takeSender(message, sender);
  if (!isComplete || tooMany) {
    for (size_t i = 0; i < kept; i++) closeForeign(received.data[2 + i]);
    return Napi::Number::New(info.Env(), -EMSGSIZE);
  }
  received.data[0] = static_cast<int32_t>(kept);
  received.data[1] = message.msg_flags;
  if (sender != nullptr) sender[3] = pidfd.release();
  return Napi::Number::New(info.Env(), static_cast<double>(size));
}

bool readReceive(const Napi::CallbackInfo& info, int32_t* socket, iovec* part, Span<int32_t>* received) {
  Span<uint8_t> data;
  int32_t offset;
  if (!readArguments(info, socket, &data, &offset, received)) return false;
  if (offset < 0 || static_cast<size_t>(offset) >= data.length) return refuse(info, 2, "an offset within the buffer");
  if (received->length < 2) return refuse(info, 3, "an Int32Array with room for count and flags");
  *part = {data.data + offset, data.length - static_cast<size_t>(offset)};
  return true;
}

Napi::Value receiveMessage(const Napi::CallbackInfo& info) {
  int32_t socket;
  iovec part;
  Span<int32_t> received;
  if (!readReceive(info, &socket, &part, &received)) return info.Env().Undefined();
  return receive<0>(info, socket, part, received);
}

Napi::Value peekMessage(const Napi::CallbackInfo& info) {
  int32_t socket;
  iovec part;
  Span<int32_t> received;
  if (!readReceive(info, &socket, &part, &received)) return info.Env().Undefined();
  return receive<0>(info, socket, part, received, nullptr, MSG_PEEK);
}

Napi::Value receiveWithSender(const Napi::CallbackInfo& info) {
  int32_t socket;
  iovec part;
  Span<int32_t> received, sender;
  if (!readReceive(info, &socket, &part, &received) || !readArgument(info, 4, &sender)) return info.Env().Undefined();
  if (sender.length < 4) {
    refuse(info, 4, "an Int32Array of four");
    return info.Env().Undefined();
  }
  sender.data[0] = 0;
  sender.data[1] = sender.data[2] = sender.data[3] = -1;
  return receive<kSenderSpace>(info, socket, part, received, sender.data);
}

// One recvmsg would also take the start of what follows, and fds that belong to it would look like this frame's.
// Peeking costs a third of a microsecond and makes the boundary certain. Peeked without a control buffer, fds stay.
Napi::Value receiveFrame(const Napi::CallbackInfo& info) {
  int32_t socket;
  iovec part;
  Span<int32_t> received;
  if (!readReceive(info, &socket, &part, &received)) return info.Env().Undefined();
  ssize_t size = retryOnEintr([&] { return ::recv(socket, part.iov_base, part.iov_len, MSG_PEEK | MSG_DONTWAIT); });
  if (size <= 0) {
    received.data[0] = 0;
    received.data[1] = 0;
    return outcome(info, size);
  }
  auto* end = static_cast<char*>(std::memchr(part.iov_base, 0, static_cast<size_t>(size)));
  part.iov_len = end == nullptr ? static_cast<size_t>(size)
                                : static_cast<size_t>(end - static_cast<char*>(part.iov_base)) + 1;
  return receive<0>(info, socket, part, received);
}

// Never receives a descriptor: without a control buffer a peek leaves them where they are, and says that there are some
// (MSG_CTRUNC, recvmsg(2)). `mode`: 0 a frame if nothing follows it, 1 look only, 2 take what is there where no
// descriptor can come.
Napi::Value receiveBytes(const Napi::CallbackInfo& info) {
  int32_t socket, mode;
  Span<uint8_t> data;
  if (!readArguments(info, &socket, &data, &mode)) return info.Env().Undefined();
  if (data.length == 0) {
    refuse(info, 1, "a buffer with room");
    return info.Env().Undefined();
  }
  if (mode == 2) return outcome(info, receiveNow(socket, data.data, data.length));
  iovec part = {data.data, data.length};
  msghdr message = messageOf(part);
  const ssize_t size = receiveNow(socket, message, MSG_PEEK);
  if (size < 0) return outcome(info, size);
  if ((message.msg_flags & MSG_CTRUNC) != 0) return Napi::Number::New(info.Env(), -ENOMSG);
  if (size == 0 || mode == 1) return outcome(info, size);
  auto* end = static_cast<uint8_t*>(std::memchr(data.data, 0, static_cast<size_t>(size)));
  if (end != nullptr && end + 1 < data.data + size) return Napi::Number::New(info.Env(), -E2BIG);
  return outcome(info, receiveNow(socket, data.data, static_cast<size_t>(size)));
}

// A control buffer that the credentials fill: there is no room for a descriptor.
Napi::Value peekSender(const Napi::CallbackInfo& info) {
  int32_t socket;
  Span<int32_t> sender;
  if (!readArguments(info, &socket, &sender)) return info.Env().Undefined();
  if (sender.length < 3) {
    refuse(info, 1, "an Int32Array of three");
    return info.Env().Undefined();
  }
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
  char byte;
  iovec part = {&byte, sizeof byte};
  msghdr message = messageOf(part);
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = receiveNow(socket, message, MSG_PEEK);
  if (size < 0) return outcome(info, size);
  sender.data[0] = 0;
  sender.data[1] = sender.data[2] = -1;
  takeSender(message, sender.data);
  return Napi::Number::New(info.Env(), (message.msg_flags & MSG_CTRUNC) != 0 ? 1 : 0);
}

}  // namespace

void exportMessage(Napi::Env env, Napi::Object exports) {
  exportFunction<sendMessage>(env, exports, "sendmsg");
  exportFunction<receiveMessage>(env, exports, "recvmsg");
  exportFunction<peekMessage>(env, exports, "peekmsg");
  exportFunction<receiveWithSender>(env, exports, "recvcred");
  exportFunction<receiveFrame>(env, exports, "recvframe");
  exportFunction<receiveBytes>(env, exports, "recvbytes");
  exportFunction<peekSender>(env, exports, "peeksender");
}

}  // namespace berthd
