// Mounts by descriptor: open_tree(2), mount_setattr(2), fsopen(2), fsconfig(2), fsmount(2). Nothing is attached
// anywhere: a mount made here lives as long as its descriptor. What the kernel has to say about a failure is read from
// the descriptor of fsopen.
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "args.h"
#include "exports.h"

// Not <sys/mount.h> or <linux/mount.h>: older ones lack half of this, and the two do not go together.
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif

namespace berthd {
namespace {

constexpr unsigned kCloexec = 1;  // FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
enum FsConfig : unsigned { kSetFlag = 0, kSetString = 1, kSetFd = 5, kCreate = 6 };

// struct mount_attr (mount_setattr(2)).
struct MountAttributes {
  uint64_t set, clear, propagation, userns;
};

Napi::Value OpenTree(const Napi::CallbackInfo& info) {
  int32_t directory;
  std::string path;
  uint32_t flags;
  if (!Arguments(info, &directory, &path, &flags)) return info.Env().Undefined();
  return Outcome(info, ::syscall(SYS_open_tree, directory, path.c_str(), flags | OPEN_TREE_CLOEXEC));
}

Napi::Value MountSetattr(const Napi::CallbackInfo& info) {
  int32_t mount, userns;
  uint32_t set;
  if (!Arguments(info, &mount, &set, &userns)) return info.Env().Undefined();
  // An int, so that a descriptor that is none (-1) is EBADF and no large number.
  MountAttributes attributes = {set, 0, 0, static_cast<uint32_t>(userns)};
  return Outcome(info, ::syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attributes, sizeof attributes));
}

Napi::Value FsOpen(const Napi::CallbackInfo& info) {
  std::string type;
  if (!Arguments(info, &type)) return info.Env().Undefined();
  return Outcome(info, ::syscall(SYS_fsopen, type.c_str(), kCloexec));
}

Napi::Value FsConfigFlag(const Napi::CallbackInfo& info) {
  int32_t context;
  std::string key;
  if (!Arguments(info, &context, &key)) return info.Env().Undefined();
  return Outcome(info, ::syscall(SYS_fsconfig, context, kSetFlag, key.c_str(), nullptr, 0));
}

Napi::Value FsConfigString(const Napi::CallbackInfo& info) {
  int32_t context;
  std::string key, value;
  if (!Arguments(info, &context, &key, &value)) return info.Env().Undefined();
  return Outcome(info, ::syscall(SYS_fsconfig, context, kSetString, key.c_str(), value.c_str(), 0));
}

Napi::Value FsConfigFd(const Napi::CallbackInfo& info) {
  int32_t context, fd;
  std::string key;
  if (!Arguments(info, &context, &key, &fd)) return info.Env().Undefined();
  return Outcome(info, ::syscall(SYS_fsconfig, context, kSetFd, key.c_str(), nullptr, fd));
}

Napi::Value FsConfigCreate(const Napi::CallbackInfo& info) {
  int32_t context;
  if (!Arguments(info, &context)) return info.Env().Undefined();
  return Outcome(info, ::syscall(SYS_fsconfig, context, kCreate, nullptr, nullptr, 0));
}

Napi::Value FsMount(const Napi::CallbackInfo& info) {
  int32_t context;
  uint32_t attributes;
  if (!Arguments(info, &context, &attributes)) return info.Env().Undefined();
  return Outcome(info, ::syscall(SYS_fsmount, context, kCloexec, attributes));
}

}  // namespace

void ExportMount(Napi::Env env, Napi::Object exports) {
  Export<OpenTree>(env, exports, "openTree");
  Export<MountSetattr>(env, exports, "mountSetattr");
  Export<FsOpen>(env, exports, "fsopen");
  Export<FsConfigFlag>(env, exports, "fsconfigFlag");
  Export<FsConfigString>(env, exports, "fsconfigString");
  Export<FsConfigFd>(env, exports, "fsconfigFd");
  Export<FsConfigCreate>(env, exports, "fsconfigCreate");
  Export<FsMount>(env, exports, "fsmount");
}

}  // namespace berthd
