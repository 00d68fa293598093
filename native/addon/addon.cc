// The addon: system calls that Node does not offer, one file for each kernel topic. src/native.ts documents each one.
#include "exports.h"

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  berthd::exportMessage(env, exports);
  berthd::exportSocket(env, exports);
  berthd::exportDescriptor(env, exports);
  berthd::exportDirectory(env, exports);
  berthd::exportProcess(env, exports);
  berthd::exportMount(env, exports);
  berthd::exportUserns(env, exports);
  berthd::exportInotify(env, exports);
  berthd::exportXattr(env, exports);
  berthd::exportEpoll(env, exports);
  berthd::exportPoll(env, exports);
  berthd::exportSeccomp(env, exports);
  berthd::exportDoorman(env, exports);
  berthd::exportBpf(env, exports);
  return exports;
}

NODE_API_MODULE(berthd, init)
