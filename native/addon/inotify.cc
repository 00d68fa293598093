// Being told what happens to a file or a file system: inotify(7). The events are read from the descriptor.
#include <sys/inotify.h>

#include "args.h"
#include "exports.h"

namespace berthd {
namespace {

Napi::Value InotifyInit(const Napi::CallbackInfo& info) {
  uint32_t flags;
  if (!Arguments(info, &flags)) return info.Env().Undefined();
  return Outcome(info, ::inotify_init1(static_cast<int>(flags | IN_CLOEXEC)));
}

Napi::Value InotifyAddWatch(const Napi::CallbackInfo& info) {
  int32_t inotify;
  std::string path;
  uint32_t mask;
  if (!Arguments(info, &inotify, &path, &mask)) return info.Env().Undefined();
  return Outcome(info, ::inotify_add_watch(inotify, path.c_str(), mask));
}

}  // namespace

void ExportInotify(Napi::Env env, Napi::Object exports) {
  Export<InotifyInit>(env, exports, "inotifyInit");
  Export<InotifyAddWatch>(env, exports, "inotifyAddWatch");
}

}  // namespace berthd
