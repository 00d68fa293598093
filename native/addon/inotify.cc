// Changes of files and file systems: inotify(7). The caller reads the events from the descriptor.
#include <sys/inotify.h>

#include "args.h"
#include "exports.h"

namespace berthd {
namespace {

Napi::Value inotifyInit(const Napi::CallbackInfo& info) {
  uint32_t flags;
  if (!readArguments(info, &flags)) return info.Env().Undefined();
  return outcome(info, ::inotify_init1(static_cast<int>(flags | IN_CLOEXEC)));
}

Napi::Value inotifyAddWatch(const Napi::CallbackInfo& info) {
  int32_t inotify = -1;
  std::string path;
  uint32_t mask;
  if (!readArguments(info, &inotify, &path, &mask)) return info.Env().Undefined();
  return outcome(info, ::inotify_add_watch(inotify, path.c_str(), mask));
}

}  // namespace

void exportInotify(Napi::Env env, Napi::Object exports) {
  exportFunction<inotifyInit>(env, exports, "inotifyInit");
  exportFunction<inotifyAddWatch>(env, exports, "inotifyAddWatch");
}

}  // namespace berthd
