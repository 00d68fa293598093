// Mounts by descriptor: open_tree(2), mount_setattr(2), fsopen(2), fsconfig(2), fsmount(2). Nothing is attached
// anywhere: a mount made here lives as long as its descriptor. What the kernel has to say about a failure is read from
// the descriptor of fsopen.
#include "args.h"
#include "common/mount-abi.h"
#include "exports.h"

namespace berthd {
namespace {

Napi::Value openTreeCall(const Napi::CallbackInfo& info) {
  int32_t directory;
  std::string path;
  uint32_t flags;
  if (!readArguments(info, &directory, &path, &flags)) return info.Env().Undefined();
  return outcome(info, openTree(directory, path.c_str(), flags));
}

Napi::Value mountSetattr(const Napi::CallbackInfo& info) {
  int32_t mount, userns;
  uint32_t set;
  if (!readArguments(info, &mount, &set, &userns)) return info.Env().Undefined();
  // An int, so that a descriptor that is none (-1) is EBADF and no large number.
  MountAttributes attributes = {set, 0, 0, static_cast<uint32_t>(userns)};
  return outcome(info, setMountAttributes(mount, attributes));
}

Napi::Value fsOpen(const Napi::CallbackInfo& info) {
  std::string type;
  if (!readArguments(info, &type)) return info.Env().Undefined();
  return outcome(info, openFileSystem(type.c_str()));
}

Napi::Value fsConfigFlag(const Napi::CallbackInfo& info) {
  int32_t context;
  std::string key;
  if (!readArguments(info, &context, &key)) return info.Env().Undefined();
  return outcome(info, configureFileSystem(context, kSetFlag, key.c_str(), nullptr));
}

Napi::Value fsConfigString(const Napi::CallbackInfo& info) {
  int32_t context;
  std::string key, value;
  if (!readArguments(info, &context, &key, &value)) return info.Env().Undefined();
  return outcome(info, configureFileSystem(context, kSetString, key.c_str(), value.c_str()));
}

Napi::Value fsConfigFd(const Napi::CallbackInfo& info) {
  int32_t context, fd;
  std::string key;
  if (!readArguments(info, &context, &key, &fd)) return info.Env().Undefined();
  return outcome(info, configureFileSystem(context, kSetFd, key.c_str(), nullptr, fd));
}

Napi::Value fsConfigCreate(const Napi::CallbackInfo& info) {
  int32_t context;
  if (!readArguments(info, &context)) return info.Env().Undefined();
  return outcome(info, createFileSystem(context));
}

Napi::Value fsMount(const Napi::CallbackInfo& info) {
  int32_t context;
  uint32_t attributes;
  if (!readArguments(info, &context, &attributes)) return info.Env().Undefined();
  return outcome(info, makeMount(context, attributes));
}

}  // namespace

void exportMount(Napi::Env env, Napi::Object exports) {
  exportFunction<openTreeCall>(env, exports, "openTree");
  exportFunction<mountSetattr>(env, exports, "mountSetattr");
  exportFunction<fsOpen>(env, exports, "fsopen");
  exportFunction<fsConfigFlag>(env, exports, "fsconfigFlag");
  exportFunction<fsConfigString>(env, exports, "fsconfigString");
  exportFunction<fsConfigFd>(env, exports, "fsconfigFd");
  exportFunction<fsConfigCreate>(env, exports, "fsconfigCreate");
  exportFunction<fsMount>(env, exports, "fsmount");
}

}  // namespace berthd
