// What can be done with a descriptor of any kind: close, dup, fcntl(2), poll(2), flock(2), kcmp(2), statx(2), lseek(2);
// and memfd_create(2) with seals.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "args.h"
#include "close-foreign.h"
#include "exports.h"

#ifndef AT_STATX_DONT_SYNC
#define AT_STATX_DONT_SYNC 0x4000
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace berthd {
namespace {

Napi::Value close(const Napi::CallbackInfo& info) {
  int32_t fd;
  if (!readArguments(info, &fd)) return info.Env().Undefined();
  return outcome(info, ::close(fd));
}

Napi::Value duplicate(const Napi::CallbackInfo& info) {
  int32_t fd;
  if (!readArguments(info, &fd)) return info.Env().Undefined();
  return outcome(info, ::fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

Napi::Value closeForeignFd(const Napi::CallbackInfo& info) {
  int32_t fd;
  if (!readArguments(info, &fd)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), closeForeign(fd));
}

template <int Command>
Napi::Value getFlags(const Napi::CallbackInfo& info) {
  int32_t fd;
  if (!readArguments(info, &fd)) return info.Env().Undefined();
  return outcome(info, ::fcntl(fd, Command));
}

template <int Command>
Napi::Value setFlags(const Napi::CallbackInfo& info) {
  int32_t fd, flags;
  if (!readArguments(info, &fd, &flags)) return info.Env().Undefined();
  return outcome(info, ::fcntl(fd, Command, flags));
}

Napi::Value pollNow(const Napi::CallbackInfo& info) {
  int32_t fd, events;
  if (!readArguments(info, &fd, &events)) return info.Env().Undefined();
  pollfd entry = {fd, static_cast<short>(events), 0};
  int result = retryOnEintr([&] { return ::poll(&entry, 1, 0); });
  return outcome(info, result < 0 ? result : entry.revents);
}

// Waits, so the caller keeps the time short.
Napi::Value pollFor(const Napi::CallbackInfo& info) {
  int32_t fd, events, milliseconds;
  if (!readArguments(info, &fd, &events, &milliseconds)) return info.Env().Undefined();
  if (milliseconds < 0) return Napi::Number::New(info.Env(), -EINVAL);  // it would wait for ever
  pollfd entry = {fd, static_cast<short>(events), 0};
  int result = retryOnEintr([&] { return ::poll(&entry, 1, milliseconds); });
  return outcome(info, result < 0 ? result : entry.revents);
}

// Never waits: the holder of the lock could stop the event loop for as long as it likes.
Napi::Value lock(const Napi::CallbackInfo& info) {
  int32_t fd, operation;
  if (!readArguments(info, &fd, &operation)) return info.Env().Undefined();
  return outcome(info, ::flock(fd, operation | LOCK_NB));
}

Napi::Value recordLock(const Napi::CallbackInfo& info) {
  int32_t fd, type;
  if (!readArguments(info, &fd, &type)) return info.Env().Undefined();
  struct flock whole = {};
  whole.l_type = static_cast<short>(type);
  whole.l_whence = SEEK_SET;
  return outcome(info, ::fcntl(fd, F_OFD_SETLK, &whole));
}

Napi::Value compareFiles(const Napi::CallbackInfo& info) {
  int32_t one, other;
  if (!readArguments(info, &one, &other)) return info.Env().Undefined();
  pid_t self = ::getpid();
  return outcome(info, ::syscall(SYS_kcmp, self, self, KCMP_FILE, one, other));
}

// AT_STATX_DONT_SYNC: what the kernel knows, without a request to a file system that may not answer.
Napi::Value look(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint32_t> into;
  if (!readArguments(info, &fd, &into)) return info.Env().Undefined();
  if (into.length < 5) {
    refuse(info, 1, "a Uint32Array of five");
    return info.Env().Undefined();
  }
  struct statx status;
  int result = ::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &status);
  if (result == 0) {
    into.data[0] = status.stx_mode;
    into.data[1] = status.stx_dev_major;
    into.data[2] = status.stx_dev_minor;
    into.data[3] = static_cast<uint32_t>(status.stx_ino);
    into.data[4] = static_cast<uint32_t>(status.stx_ino >> 32);
  }
  return outcome(info, result);
}

Napi::Value seek(const Napi::CallbackInfo& info) {
  int32_t fd, whence;
  int64_t offset = 0;
  if (!readArguments(info, &fd, &offset, &whence)) return info.Env().Undefined();
  return outcome(info, ::lseek(fd, offset, whence));
}

Napi::Value shareBlocks(const Napi::CallbackInfo& info) {
  int32_t to, from;
  if (!readArguments(info, &to, &from)) return info.Env().Undefined();
  return outcome(info, ::ioctl(to, FICLONE, from));
}

Napi::Value makeMemFd(const Napi::CallbackInfo& info) {
  std::string name;
  if (!readArguments(info, &name)) return info.Env().Undefined();
  int fd = ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  // MFD_NOEXEC_SEAL came with Linux 6.3; older kernels call it invalid.
  if (fd < 0 && errno == EINVAL) fd = ::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  return outcome(info, fd);
}

}  // namespace

void exportDescriptor(Napi::Env env, Napi::Object exports) {
  exportFunction<close>(env, exports, "close");
  exportFunction<closeForeignFd>(env, exports, "closeForeign");
  exportFunction<duplicate>(env, exports, "dup");
  exportFunction<getFlags<F_GETFL>>(env, exports, "getfl");
  exportFunction<setFlags<F_SETFL>>(env, exports, "setfl");
  exportFunction<getFlags<F_GETFD>>(env, exports, "getfd");
  exportFunction<setFlags<F_SETFD>>(env, exports, "setfd");
  exportFunction<pollNow>(env, exports, "pollNow");
  exportFunction<pollFor>(env, exports, "pollFor");
  exportFunction<lock>(env, exports, "flock");
  exportFunction<recordLock>(env, exports, "recordLock");
  exportFunction<compareFiles>(env, exports, "kcmp");
  exportFunction<look>(env, exports, "statNow");
  exportFunction<seek>(env, exports, "lseek");
  exportFunction<shareBlocks>(env, exports, "ficlone");
  exportFunction<makeMemFd>(env, exports, "memfd");
  exportFunction<setFlags<F_ADD_SEALS>>(env, exports, "addSeals");
  exportFunction<getFlags<F_GET_SEALS>>(env, exports, "getSeals");
}

}  // namespace berthd
