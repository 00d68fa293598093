// What can be done with a descriptor of any kind: close, dup, fcntl(2), poll(2), flock(2); and memfd_create(2) with seals.
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "args.h"
#include "close-foreign.h"
#include "exports.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace berthd {
namespace {

Napi::Value Close(const Napi::CallbackInfo& info) {
  int32_t fd;
  if (!Arguments(info, &fd)) return info.Env().Undefined();
  return Outcome(info, ::close(fd));
}

Napi::Value Duplicate(const Napi::CallbackInfo& info) {
  int32_t fd;
  if (!Arguments(info, &fd)) return info.Env().Undefined();
  return Outcome(info, ::fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

Napi::Value DiscardOne(const Napi::CallbackInfo& info) {
  int32_t fd;
  if (!Arguments(info, &fd)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), Discard(fd));
}

template <int Command>
Napi::Value GetFlags(const Napi::CallbackInfo& info) {
  int32_t fd;
  if (!Arguments(info, &fd)) return info.Env().Undefined();
  return Outcome(info, ::fcntl(fd, Command));
}

template <int Command>
Napi::Value SetFlags(const Napi::CallbackInfo& info) {
  int32_t fd, flags;
  if (!Arguments(info, &fd, &flags)) return info.Env().Undefined();
  return Outcome(info, ::fcntl(fd, Command, flags));
}

Napi::Value PollNow(const Napi::CallbackInfo& info) {
  int32_t fd, events;
  if (!Arguments(info, &fd, &events)) return info.Env().Undefined();
  pollfd entry = {fd, static_cast<short>(events), 0};
  int result = RetryOnEintr([&] { return ::poll(&entry, 1, 0); });
  return Outcome(info, result < 0 ? result : entry.revents);
}

// Waits: for what must be over before anything else may happen. The caller keeps the time short.
Napi::Value PollFor(const Napi::CallbackInfo& info) {
  int32_t fd, events, milliseconds;
  if (!Arguments(info, &fd, &events, &milliseconds)) return info.Env().Undefined();
  if (milliseconds < 0) return Napi::Number::New(info.Env(), -EINVAL);  // it would wait for ever
  pollfd entry = {fd, static_cast<short>(events), 0};
  int result = RetryOnEintr([&] { return ::poll(&entry, 1, milliseconds); });
  return Outcome(info, result < 0 ? result : entry.revents);
}

// Never waits: that would stop the event loop for as long as somebody else likes.
Napi::Value Lock(const Napi::CallbackInfo& info) {
  int32_t fd, operation;
  if (!Arguments(info, &fd, &operation)) return info.Env().Undefined();
  return Outcome(info, ::flock(fd, operation | LOCK_NB));
}

Napi::Value RecordLock(const Napi::CallbackInfo& info) {
  int32_t fd, type;
  if (!Arguments(info, &fd, &type)) return info.Env().Undefined();
  struct flock whole = {};
  whole.l_type = static_cast<short>(type);
  whole.l_whence = SEEK_SET;
  return Outcome(info, ::fcntl(fd, F_OFD_SETLK, &whole));
}

Napi::Value MemFd(const Napi::CallbackInfo& info) {
  std::string name;
  if (!Arguments(info, &name)) return info.Env().Undefined();
  int fd = ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  // MFD_NOEXEC_SEAL came with Linux 6.3; older kernels call it invalid.
  if (fd < 0 && errno == EINVAL) fd = ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  return Outcome(info, fd);
}

}  // namespace

void ExportDescriptor(Napi::Env env, Napi::Object exports) {
  Export<Close>(env, exports, "close");
  Export<DiscardOne>(env, exports, "discard");
  Export<Duplicate>(env, exports, "dup");
  Export<GetFlags<F_GETFL>>(env, exports, "getfl");
  Export<SetFlags<F_SETFL>>(env, exports, "setfl");
  Export<GetFlags<F_GETFD>>(env, exports, "getfd");
  Export<SetFlags<F_SETFD>>(env, exports, "setfd");
  Export<PollNow>(env, exports, "pollNow");
  Export<PollFor>(env, exports, "pollFor");
  Export<Lock>(env, exports, "flock");
  Export<RecordLock>(env, exports, "recordLock");
  Export<MemFd>(env, exports, "memfd");
  Export<SetFlags<F_ADD_SEALS>>(env, exports, "addSeals");
}

}  // namespace berthd
