// sendmsg(2) and recvmsg(2) with SCM_RIGHTS (unix(7), cmsg(3)).
#include <sys/socket.h>

#include <cstring>

#include "args.h"
#include "close-foreign.h"
#include "common/fd.h"
#include "exports.h"

namespace berthd {
namespace {

constexpr size_t kMaxFds = 253;  // SCM_MAX_FD

// Linux 6.5; the headers may be older.
constexpr int kScmPidfd = 4;

// The unions give the control buffers the alignment of a cmsghdr. The second has room for who sent it, too.
union Control {
  cmsghdr align;
  char bytes[CMSG_SPACE(kMaxFds * sizeof(int))];
};

union CredentialControl {
  cmsghdr align;
  char bytes[CMSG_SPACE(kMaxFds * sizeof(int)) + CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int))];
};

Napi::Value SendMessage(const Napi::CallbackInfo& info) {
  int32_t socket, offset, count;
  Span<uint8_t> data;
  Span<int32_t> fds;
  if (!Arguments(info, &socket, &data, &offset, &fds, &count)) return info.Env().Undefined();
  // A stream never sends fds with a message of no bytes, and says nothing about it (unix(7)).
  bool fits = offset >= 0 && static_cast<size_t>(offset) < data.length && count >= 0 &&
              static_cast<size_t>(count) <= fds.length && static_cast<size_t>(count) <= kMaxFds;
  if (!fits) return Napi::Number::New(info.Env(), -EINVAL);

  iovec part = {data.data + offset, data.length - static_cast<size_t>(offset)};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Control control;
  if (count > 0) {
    size_t size = static_cast<size_t>(count) * sizeof(int);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(size);
    std::memset(control.bytes, 0, message.msg_controllen);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(header), fds.data, size);
  }
  return Outcome(info, RetryOnEintr([&] { return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT); }));
}

// Receives into `part`. Every fd that came is owned before anything about the message is judged; what does not fit
// `received` is closed, and a truncated message closes all of them: its fds cannot be told apart from their absence.
// With `sender`, who sent it: pid, uid, gid and a pidfd, as far as the kernel said.
template <typename Buffer>
Napi::Value Receive(const Napi::CallbackInfo& info, int socket, iovec part, Span<int32_t> received,
                    int32_t* sender = nullptr, int flags = 0) {
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Buffer control;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  UniqueFd pidfd;
  received.data[0] = 0;
  received.data[1] = 0;
  ssize_t size = RetryOnEintr([&] { return ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | flags); });
  if (size < 0) return Outcome(info, size);

  bool truncated = (message.msg_flags & MSG_CTRUNC) != 0;
  size_t room = received.length - 2;
  size_t kept = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET) continue;
    if (header->cmsg_type == SCM_CREDENTIALS && sender != nullptr) {
      ucred credentials;
      std::memcpy(&credentials, CMSG_DATA(header), sizeof(credentials));
      sender[0] = credentials.pid;
      sender[1] = static_cast<int32_t>(credentials.uid);
      sender[2] = static_cast<int32_t>(credentials.gid);
    }
    if (header->cmsg_type == kScmPidfd) {
      int number;
      std::memcpy(&number, CMSG_DATA(header), sizeof(int));
      pidfd.reset(number);  // negative when the sender is gone
    }
    if (header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int number;
      std::memcpy(&number, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      UniqueFd fd(number);
      if (truncated || kept >= room) {
        truncated = true;
        Discard(fd.release());
        continue;
      }
      received.data[2 + kept++] = fd.release();
    }
  }
  if (truncated) {
    for (size_t i = 0; i < kept; i++) Discard(received.data[2 + i]);
    return Napi::Number::New(info.Env(), -EMSGSIZE);
  }
  received.data[0] = static_cast<int32_t>(kept);
  received.data[1] = message.msg_flags;
  if (sender != nullptr) sender[3] = pidfd.release();
  return Napi::Number::New(info.Env(), static_cast<double>(size));
}

bool ReadReceive(const Napi::CallbackInfo& info, int32_t* socket, iovec* part, Span<int32_t>* received) {
  Span<uint8_t> data;
  int32_t offset;
  if (!Arguments(info, socket, &data, &offset, received)) return false;
  if (offset < 0 || static_cast<size_t>(offset) >= data.length) return Refuse(info, 2, "an offset within the buffer");
  if (received->length < 2) return Refuse(info, 3, "an Int32Array with room for count and flags");
  *part = {data.data + offset, data.length - static_cast<size_t>(offset)};
  return true;
}

Napi::Value ReceiveMessage(const Napi::CallbackInfo& info) {
  int32_t socket;
  iovec part;
  Span<int32_t> received;
  if (!ReadReceive(info, &socket, &part, &received)) return info.Env().Undefined();
  return Receive<Control>(info, socket, part, received);
}

Napi::Value PeekMessage(const Napi::CallbackInfo& info) {
  int32_t socket;
  iovec part;
  Span<int32_t> received;
  if (!ReadReceive(info, &socket, &part, &received)) return info.Env().Undefined();
  return Receive<Control>(info, socket, part, received, nullptr, MSG_PEEK);
}

Napi::Value ReceiveWithSender(const Napi::CallbackInfo& info) {
  int32_t socket;
  iovec part;
  Span<int32_t> received, sender;
  if (!ReadReceive(info, &socket, &part, &received) || !Read(info, 4, &sender)) return info.Env().Undefined();
  if (sender.length < 4) {
    Refuse(info, 4, "an Int32Array of four");
    return info.Env().Undefined();
  }
  sender.data[0] = 0;
  sender.data[1] = sender.data[2] = sender.data[3] = -1;
  return Receive<CredentialControl>(info, socket, part, received, sender.data);
}

// One recvmsg would also take the start of what follows, and fds that belong to it would look like this frame's.
// Peeking costs a third of a microsecond and makes the boundary certain. Peeked without a control buffer, fds stay.
Napi::Value ReceiveFrame(const Napi::CallbackInfo& info) {
  int32_t socket;
  iovec part;
  Span<int32_t> received;
  if (!ReadReceive(info, &socket, &part, &received)) return info.Env().Undefined();
  ssize_t size = RetryOnEintr([&] { return ::recv(socket, part.iov_base, part.iov_len, MSG_PEEK | MSG_DONTWAIT); });
  if (size <= 0) {
    received.data[0] = 0;
    received.data[1] = 0;
    return Outcome(info, size);
  }
  auto* end = static_cast<char*>(std::memchr(part.iov_base, 0, static_cast<size_t>(size)));
  part.iov_len = end == nullptr ? static_cast<size_t>(size)
                                : static_cast<size_t>(end - static_cast<char*>(part.iov_base)) + 1;
  return Receive<Control>(info, socket, part, received);
}

}  // namespace

void ExportMessage(Napi::Env env, Napi::Object exports) {
  Export<SendMessage>(env, exports, "sendmsg");
  Export<ReceiveMessage>(env, exports, "recvmsg");
  Export<PeekMessage>(env, exports, "peekmsg");
  Export<ReceiveWithSender>(env, exports, "recvcred");
  Export<ReceiveFrame>(env, exports, "recvframe");
}

}  // namespace berthd
