// Extended attributes of a file itself, never of what a link leads to: llistxattr(2), lgetxattr(2).
#include <sys/xattr.h>

#include "args.h"
#include "exports.h"

namespace berthd {
namespace {

Napi::Value listXattr(const Napi::CallbackInfo& info) {
  PathBytes path;
  Span<uint8_t> names;
  if (!readArguments(info, &path, &names)) return info.Env().Undefined();
  return outcome(info, ::llistxattr(path.bytes.c_str(), reinterpret_cast<char*>(names.data), names.length));
}

Napi::Value getXattr(const Napi::CallbackInfo& info) {
  PathBytes path, name;
  Span<uint8_t> value;
  if (!readArguments(info, &path, &name, &value)) return info.Env().Undefined();
  return outcome(info, ::lgetxattr(path.bytes.c_str(), name.bytes.c_str(), value.data, value.length));
}

}  // namespace

void exportXattr(Napi::Env env, Napi::Object exports) {
  exportFunction<listXattr>(env, exports, "llistxattr");
  exportFunction<getXattr>(env, exports, "lgetxattr");
}

}  // namespace berthd
