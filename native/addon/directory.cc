// Files below a directory descriptor: openat2(2) and the calls that take a directory and a name. Names are bytes,
// as the kernel has them: a file name need not be UTF-8.
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "args.h"
#include "exports.h"

namespace berthd {
namespace {

Napi::Value openAt2(const Napi::CallbackInfo& info) {
  int32_t directory;
  uint32_t flags, mode, resolve;
  PathBytes path;
  if (!readArguments(info, &directory, &path, &flags, &mode, &resolve)) return info.Env().Undefined();
  open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  return outcome(info, retryOnEintr([&] {
                   return ::syscall(SYS_openat2, directory, path.bytes.c_str(), &how, sizeof how);
                 }));
}

Napi::Value mkdirAt(const Napi::CallbackInfo& info) {
  int32_t directory;
  uint32_t mode;
  PathBytes name;
  if (!readArguments(info, &directory, &name, &mode)) return info.Env().Undefined();
  return outcome(info, ::mkdirat(directory, name.bytes.c_str(), mode));
}

Napi::Value makeNodeAt(const Napi::CallbackInfo& info) {
  int32_t directory;
  uint32_t mode, device;
  PathBytes name;
  if (!readArguments(info, &directory, &name, &mode, &device)) return info.Env().Undefined();
  return outcome(info, ::mknodat(directory, name.bytes.c_str(), mode, device));
}

Napi::Value setTimes(const Napi::CallbackInfo& info) {
  PathBytes path;
  int64_t accessed = 0, modified = 0;
  uint32_t accessedNs, modifiedNs;
  if (!readArguments(info, &path, &accessed, &accessedNs, &modified, &modifiedNs)) return info.Env().Undefined();
  const timespec times[] = {{accessed, accessedNs}, {modified, modifiedNs}};
  return outcome(info, ::utimensat(AT_FDCWD, path.bytes.c_str(), times, 0));
}

Napi::Value unlinkAt(const Napi::CallbackInfo& info) {
  int32_t directory, flags;
  PathBytes name;
  if (!readArguments(info, &directory, &name, &flags)) return info.Env().Undefined();
  return outcome(info, ::unlinkat(directory, name.bytes.c_str(), flags));
}

Napi::Value renameAt2(const Napi::CallbackInfo& info) {
  int32_t fromDirectory, toDirectory;
  uint32_t flags;
  PathBytes from, to;
  if (!readArguments(info, &fromDirectory, &from, &toDirectory, &to, &flags)) return info.Env().Undefined();
  return outcome(info, ::renameat2(fromDirectory, from.bytes.c_str(), toDirectory, to.bytes.c_str(), flags));
}

Napi::Value symlinkAt(const Napi::CallbackInfo& info) {
  int32_t directory;
  PathBytes target, name;
  if (!readArguments(info, &target, &directory, &name)) return info.Env().Undefined();
  return outcome(info, ::symlinkat(target.bytes.c_str(), directory, name.bytes.c_str()));
}

Napi::Value readLinkAt(const Napi::CallbackInfo& info) {
  int32_t directory;
  PathBytes name;
  Span<uint8_t> target;
  if (!readArguments(info, &directory, &name, &target)) return info.Env().Undefined();
  return outcome(info,
                 ::readlinkat(directory, name.bytes.c_str(), reinterpret_cast<char*>(target.data), target.length));
}

Napi::Value getDents(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint8_t> entries;
  if (!readArguments(info, &fd, &entries)) return info.Env().Undefined();
  return outcome(info, ::syscall(SYS_getdents64, fd, entries.data, entries.length));
}

}  // namespace

void exportDirectory(Napi::Env env, Napi::Object exports) {
  exportFunction<openAt2>(env, exports, "openat2");
  exportFunction<mkdirAt>(env, exports, "mkdirat");
  exportFunction<makeNodeAt>(env, exports, "mknodat");
  exportFunction<setTimes>(env, exports, "utimens");
  exportFunction<unlinkAt>(env, exports, "unlinkat");
  exportFunction<renameAt2>(env, exports, "renameat2");
  exportFunction<symlinkAt>(env, exports, "symlinkat");
  exportFunction<readLinkAt>(env, exports, "readlinkat");
  exportFunction<getDents>(env, exports, "getdents64");
}

}  // namespace berthd
