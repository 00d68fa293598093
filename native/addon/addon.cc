// The addon: system calls that Node does not offer, one file for each kernel topic. src/native.ts documents each one.
#include "exports.h"

static Napi::Object Init(Napi::Env env, Napi::Object exports) {
  berthd::ExportMessage(env, exports);
  berthd::ExportSocket(env, exports);
  berthd::ExportDescriptor(env, exports);
  berthd::ExportDirectory(env, exports);
  berthd::ExportProcess(env, exports);
  berthd::ExportMount(env, exports);
  berthd::ExportUserns(env, exports);
  berthd::ExportInotify(env, exports);
  berthd::ExportXattr(env, exports);
  berthd::ExportPoll(env, exports);
  berthd::ExportSeccomp(env, exports);
  return exports;
}

NODE_API_MODULE(berthd, Init)
