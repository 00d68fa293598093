// One registration function for each file of system calls.
#pragma once
#include <napi.h>

namespace berthd {

void exportMessage(Napi::Env env, Napi::Object exports);
void exportSocket(Napi::Env env, Napi::Object exports);
void exportDescriptor(Napi::Env env, Napi::Object exports);
void exportDirectory(Napi::Env env, Napi::Object exports);
void exportProcess(Napi::Env env, Napi::Object exports);
void exportEpoll(Napi::Env env, Napi::Object exports);
void exportPoll(Napi::Env env, Napi::Object exports);
void exportMount(Napi::Env env, Napi::Object exports);
void exportInotify(Napi::Env env, Napi::Object exports);
void exportUserns(Napi::Env env, Napi::Object exports);
void exportXattr(Napi::Env env, Napi::Object exports);
void exportSeccomp(Napi::Env env, Napi::Object exports);
void exportDoorman(Napi::Env env, Napi::Object exports);
void exportBpf(Napi::Env env, Napi::Object exports);

template <Napi::Value (*Call)(const Napi::CallbackInfo&)>
void exportFunction(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<Call>(env, name));
}

}  // namespace berthd
