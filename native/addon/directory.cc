// What lies beneath a directory descriptor: openat2(2) and the calls that take a directory and a name. Names are bytes,
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

Napi::Value OpenAt2(const Napi::CallbackInfo& info) {
  int32_t directory;
  uint32_t flags, mode, resolve;
  PathBytes path;
  if (!Arguments(info, &directory, &path, &flags, &mode, &resolve)) return info.Env().Undefined();
  open_how how = {};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = resolve;
  return Outcome(info, RetryOnEintr([&] {
                   return ::syscall(SYS_openat2, directory, path.bytes.c_str(), &how, sizeof how);
                 }));
}

Napi::Value MkdirAt(const Napi::CallbackInfo& info) {
  int32_t directory;
  uint32_t mode;
  PathBytes name;
  if (!Arguments(info, &directory, &name, &mode)) return info.Env().Undefined();
  return Outcome(info, ::mkdirat(directory, name.bytes.c_str(), mode));
}

Napi::Value UnlinkAt(const Napi::CallbackInfo& info) {
  int32_t directory, flags;
  PathBytes name;
  if (!Arguments(info, &directory, &name, &flags)) return info.Env().Undefined();
  return Outcome(info, ::unlinkat(directory, name.bytes.c_str(), flags));
}

Napi::Value RenameAt2(const Napi::CallbackInfo& info) {
  int32_t from_directory, to_directory;
  uint32_t flags;
  PathBytes from, to;
  if (!Arguments(info, &from_directory, &from, &to_directory, &to, &flags)) return info.Env().Undefined();
  return Outcome(info, ::renameat2(from_directory, from.bytes.c_str(), to_directory, to.bytes.c_str(), flags));
}

Napi::Value SymlinkAt(const Napi::CallbackInfo& info) {
  int32_t directory;
  PathBytes target, name;
  if (!Arguments(info, &target, &directory, &name)) return info.Env().Undefined();
  return Outcome(info, ::symlinkat(target.bytes.c_str(), directory, name.bytes.c_str()));
}

Napi::Value ReadLinkAt(const Napi::CallbackInfo& info) {
  int32_t directory;
  PathBytes name;
  Span<uint8_t> target;
  if (!Arguments(info, &directory, &name, &target)) return info.Env().Undefined();
  return Outcome(info,
                 ::readlinkat(directory, name.bytes.c_str(), reinterpret_cast<char*>(target.data), target.length));
}

Napi::Value GetDents(const Napi::CallbackInfo& info) {
  int32_t fd;
  Span<uint8_t> entries;
  if (!Arguments(info, &fd, &entries)) return info.Env().Undefined();
  return Outcome(info, ::syscall(SYS_getdents64, fd, entries.data, entries.length));
}

}  // namespace

void ExportDirectory(Napi::Env env, Napi::Object exports) {
  Export<OpenAt2>(env, exports, "openat2");
  Export<MkdirAt>(env, exports, "mkdirat");
  Export<UnlinkAt>(env, exports, "unlinkat");
  Export<RenameAt2>(env, exports, "renameat2");
  Export<SymlinkAt>(env, exports, "symlinkat");
  Export<ReadLinkAt>(env, exports, "readlinkat");
  Export<GetDents>(env, exports, "getdents64");
}

}  // namespace berthd
