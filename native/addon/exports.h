// One registration function for each file of system calls.
#pragma once
#include <napi.h>

namespace berthd {

void ExportMessage(Napi::Env env, Napi::Object exports);
void ExportSocket(Napi::Env env, Napi::Object exports);
void ExportDescriptor(Napi::Env env, Napi::Object exports);
void ExportDirectory(Napi::Env env, Napi::Object exports);
void ExportProcess(Napi::Env env, Napi::Object exports);
void ExportPoll(Napi::Env env, Napi::Object exports);
void ExportMount(Napi::Env env, Napi::Object exports);
void ExportInotify(Napi::Env env, Napi::Object exports);
void ExportUserns(Napi::Env env, Napi::Object exports);
void ExportXattr(Napi::Env env, Napi::Object exports);
void ExportSeccomp(Napi::Env env, Napi::Object exports);

template <Napi::Value (*Call)(const Napi::CallbackInfo&)>
void Export(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<Call>(env, name));
}

}  // namespace berthd
