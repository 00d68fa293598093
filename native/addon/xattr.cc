// Extended attributes: listxattr(2), getxattr(2), setxattr(2). To reach a link itself, give /proc/self/fd/N of a
// descriptor that was opened with O_PATH and O_NOFOLLOW: the kernel goes to the link, and not on from there.
#include <sys/xattr.h>

#include "args.h"
#include "exports.h"

namespace berthd {
namespace {

Napi::Value listXattr(const Napi::CallbackInfo& info) {
  PathBytes path;
  Span<uint8_t> names;
  if (!readArguments(info, &path, &names)) return info.Env().Undefined();
  return outcome(info, ::listxattr(path.bytes.c_str(), reinterpret_cast<char*>(names.data), names.length));
}

Napi::Value getXattr(const Napi::CallbackInfo& info) {
  PathBytes path, name;
  Span<uint8_t> value;
  if (!readArguments(info, &path, &name, &value)) return info.Env().Undefined();
  return outcome(info, ::getxattr(path.bytes.c_str(), name.bytes.c_str(), value.data, value.length));
}

Napi::Value setXattr(const Napi::CallbackInfo& info) {
  PathBytes path, name;
  Span<uint8_t> value;
  if (!readArguments(info, &path, &name, &value)) return info.Env().Undefined();
  return outcome(info, ::setxattr(path.bytes.c_str(), name.bytes.c_str(), value.data, value.length, 0));
}

}  // namespace

void exportXattr(Napi::Env env, Napi::Object exports) {
  exportFunction<listXattr>(env, exports, "listxattr");
  exportFunction<getXattr>(env, exports, "getxattr");
  exportFunction<setXattr>(env, exports, "setxattr");
}

}  // namespace berthd
