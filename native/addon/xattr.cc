// Extended attributes of a file itself, never of what a link leads to: llistxattr(2), lgetxattr(2).
#include <sys/xattr.h>

#include "args.h"
#include "exports.h"

namespace berthd {
namespace {

Napi::Value ListXattr(const Napi::CallbackInfo& info) {
  PathBytes path;
  Span<uint8_t> names;
  if (!Arguments(info, &path, &names)) return info.Env().Undefined();
  return Outcome(info, ::llistxattr(path.bytes.c_str(), reinterpret_cast<char*>(names.data), names.length));
}

Napi::Value GetXattr(const Napi::CallbackInfo& info) {
  PathBytes path, name;
  Span<uint8_t> value;
  if (!Arguments(info, &path, &name, &value)) return info.Env().Undefined();
  return Outcome(info, ::lgetxattr(path.bytes.c_str(), name.bytes.c_str(), value.data, value.length));
}

}  // namespace

void ExportXattr(Napi::Env env, Napi::Object exports) {
  Export<ListXattr>(env, exports, "llistxattr");
  Export<GetXattr>(env, exports, "lgetxattr");
}

}  // namespace berthd
