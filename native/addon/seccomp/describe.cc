// Copies reports into JavaScript objects.
#include "describe.h"

namespace berthd {
namespace {

Napi::Int32Array arrayOf(Napi::Env env, const std::vector<int>& numbers) {
  Napi::Int32Array array = Napi::Int32Array::New(env, numbers.size());
  for (size_t i = 0; i < numbers.size(); i++) array[i] = numbers[i];
  return array;
}

}  // namespace

Napi::Object describe(Napi::Env env, const BindReport& report) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("pid", Napi::Number::New(env, report.process));
  object.Set("thread", Napi::Number::New(env, report.thread));
  object.Set("fd", Napi::Number::New(env, report.number));
  object.Set("error", Napi::Number::New(env, report.error));
  object.Set("recalled", Napi::Boolean::New(env, report.recalled));
  object.Set("socket", Napi::Number::New(env, report.socket.get()));
  object.Set("network", Napi::Number::New(env, static_cast<double>(report.network)));
  const size_t length = report.error == 0 ? static_cast<size_t>(report.length) : 0;
  object.Set("question", Napi::Number::New(env, report.question));
  const auto* state = reinterpret_cast<const uint8_t*>(report.state.data());
  object.Set("state", Napi::Buffer<uint8_t>::Copy(env, state, report.state.size()));
  object.Set("stray", Napi::Number::New(env, report.stray));
  object.Set("sockaddr", Napi::Buffer<uint8_t>::Copy(env, report.address, length));
  return object;
}

Napi::Object describe(Napi::Env env, const BindReport& report, EpollReport& epolls) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("pid", Napi::Number::New(env, report.process));
  object.Set("isPlaced", Napi::Boolean::New(env, epolls.isPlaced));
  object.Set("socket", Napi::Number::New(env, report.socket.get()));
  object.Set("held", Napi::Number::New(env, epolls.held));
  object.Set("numbers", arrayOf(env, epolls.numbers));
  object.Set("strays", arrayOf(env, epolls.strays));
  std::vector<int> given;
  for (UniqueFd& fd : epolls.fds) given.push_back(fd.release());
  object.Set("epolls", arrayOf(env, given));
  return object;
}

}  // namespace berthd
