// Reading the arguments of a call from JavaScript. Every reader throws a TypeError and returns false when the value is
// not what the signature in src/native.ts says; a caller reads all of them before its first side effect.
#pragma once
#include <napi.h>

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "common/eintr.h"

namespace berthd {

template <typename T>
struct Span {
  T* data = nullptr;
  size_t length = 0;
};

inline bool refuse(const Napi::CallbackInfo& info, size_t index, const char* expected) {
  std::string message = "argument " + std::to_string(index + 1) + " must be " + expected;
  Napi::TypeError::New(info.Env(), message).ThrowAsJavaScriptException();
  return false;
}

// Not napi_get_value_int32: it makes 0 of NaN, which would be somebody's descriptor, and 1 of 1.5.
template <typename Integer>
bool readInteger(const Napi::CallbackInfo& info, size_t index, Integer* out) {
  using Limits = std::numeric_limits<Integer>;
  // Beyond 2^53 a number of JavaScript is not exact.
  constexpr double kExact = 9007199254740992.0;
  constexpr double kLeast = sizeof(Integer) < sizeof(int64_t) ? static_cast<double>(Limits::min()) : -kExact;
  constexpr double kMost = sizeof(Integer) < sizeof(int64_t) ? static_cast<double>(Limits::max()) : kExact;
  double value;
  if (napi_get_value_double(info.Env(), info[index], &value) != napi_ok || !(value >= kLeast && value <= kMost) || value != std::trunc(value)) {
    return refuse(info, index, "an integer in range");
  }
  *out = static_cast<Integer>(value);
  return true;
}

inline bool readArgument(const Napi::CallbackInfo& info, size_t index, int32_t* out) { return readInteger(info, index, out); }
inline bool readArgument(const Napi::CallbackInfo& info, size_t index, int64_t* out) { return readInteger(info, index, out); }
inline bool readArgument(const Napi::CallbackInfo& info, size_t index, uint32_t* out) { return readInteger(info, index, out); }

inline bool readArray(const Napi::CallbackInfo& info, size_t index, napi_typedarray_type type, void** data,
                      size_t* length) {
  napi_typedarray_type actual;
  return napi_get_typedarray_info(info.Env(), info[index], &actual, length, data, nullptr, nullptr) == napi_ok &&
         actual == type;
}

inline bool readArgument(const Napi::CallbackInfo& info, size_t index, Span<uint8_t>* out) {
  if (readArray(info, index, napi_uint8_array, reinterpret_cast<void**>(&out->data), &out->length)) return true;
  return refuse(info, index, "a Uint8Array");
}

inline bool readArgument(const Napi::CallbackInfo& info, size_t index, Span<int32_t>* out) {
  if (readArray(info, index, napi_int32_array, reinterpret_cast<void**>(&out->data), &out->length)) return true;
  return refuse(info, index, "an Int32Array");
}

inline bool readArgument(const Napi::CallbackInfo& info, size_t index, Span<uint32_t>* out) {
  if (readArray(info, index, napi_uint32_array, reinterpret_cast<void**>(&out->data), &out->length)) return true;
  return refuse(info, index, "a Uint32Array");
}

// A string with a NUL inside would be cut silently by every system call that takes it.
inline bool readArgument(const Napi::CallbackInfo& info, size_t index, std::string* out) {
  if (!info[index].IsString()) return refuse(info, index, "a string");
  *out = info[index].As<Napi::String>().Utf8Value();
  if (out->find('\0') != std::string::npos) return refuse(info, index, "a string without NUL");
  return true;
}

// A path or a name as bytes: it need not be UTF-8, but a NUL inside would cut it.
struct PathBytes {
  std::string bytes;
};

inline bool readArgument(const Napi::CallbackInfo& info, size_t index, PathBytes* out) {
  Span<uint8_t> span;
  if (!readArgument(info, index, &span)) return false;
  out->bytes.assign(reinterpret_cast<const char*>(span.data), span.length);
  if (out->bytes.find('\0') != std::string::npos) return refuse(info, index, "a Uint8Array without NUL");
  return true;
}

inline bool readArgument(const Napi::CallbackInfo& info, size_t index, std::vector<std::string>* out) {
  if (!info[index].IsArray()) return refuse(info, index, "an array of strings");
  Napi::Array array = info[index].As<Napi::Array>();
  out->reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); i++) {
    Napi::Value value = array.Get(i);
    if (!value.IsString()) return refuse(info, index, "an array of strings");
    out->push_back(value.As<Napi::String>().Utf8Value());
    if (out->back().find('\0') != std::string::npos) return refuse(info, index, "an array of strings without NUL");
  }
  return true;
}

template <typename First, typename... Rest>
bool readArgumentsFrom(const Napi::CallbackInfo& info, size_t index, First* first, Rest*... rest) {
  if (!readArgument(info, index, first)) return false;
  if constexpr (sizeof...(rest) > 0) return readArgumentsFrom(info, index + 1, rest...);
  return true;
}

// All arguments, in order: `if (!Arguments(info, &fd, &bytes)) return info.Env().Undefined();`
template <typename... Outs>
bool readArguments(const Napi::CallbackInfo& info, Outs*... outs) {
  return readArgumentsFrom(info, 0, outs...);
}

// What a system call gave: its result, or -errno.
template <typename Result>
Napi::Value outcome(const Napi::CallbackInfo& info, Result result) {
  return Napi::Number::New(info.Env(), static_cast<double>(result < 0 ? -errno : result));
}

}  // namespace berthd
