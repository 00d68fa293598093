// Reports of a supervisor as JavaScript objects: src/native-interceptor.ts has their types.
#pragma once
#include <napi.h>

#include "bind-report.h"
#include "epoll-report.h"

namespace berthd {

// The socket is borrowed: the thread keeps it until the call is answered.
Napi::Object describe(Napi::Env env, const BindReport& report);

// Gives the descriptors of the epolls away.
Napi::Object describe(Napi::Env env, const BindReport& report, EpollReport& epolls);

}  // namespace berthd
