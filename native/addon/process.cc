// Processes and who they belong to: pidfds, exec in place, passwd(5) and group(5) entries.
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "apart.h"
#include "args.h"
#include "common/fd.h"
#include "exports.h"

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

namespace berthd {
namespace {

Napi::Value pidfdOpen(const Napi::CallbackInfo& info) {
  int32_t pid;
  if (!readArguments(info, &pid)) return info.Env().Undefined();
  return outcome(info, ::syscall(SYS_pidfd_open, pid, 0));
}

Napi::Value pidfdSignal(const Napi::CallbackInfo& info) {
  int32_t pidfd, signal;
  if (!readArguments(info, &pidfd, &signal)) return info.Env().Undefined();
  return outcome(info, ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0));
}

// The process group that the process leads. EINVAL before Linux 6.9.
Napi::Value pidfdSignalGroup(const Napi::CallbackInfo& info) {
  constexpr unsigned kProcessGroup = 1U << 2;  // PIDFD_SIGNAL_PROCESS_GROUP
  int32_t pidfd, signal;
  if (!readArguments(info, &pidfd, &signal)) return info.Env().Undefined();
  return outcome(info, ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, kProcessGroup));
}

// The result is close-on-exec. The kernel waits while the process executes another program (exec_update_lock), which
// that process can make last for ever.
Napi::Value pidfdGetfd(const Napi::CallbackInfo& info) {
  int32_t pidfd, fd;
  uint32_t milliseconds;
  if (!readArguments(info, &pidfd, &fd, &milliseconds)) return info.Env().Undefined();
  // The thread may still need it when this call is over.
  const int process = ::fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
  if (process < 0) return outcome(info, -1);
  auto own = std::make_shared<UniqueFd>(process);
  const int64_t result = apart(
      milliseconds,
      [own, fd]() -> int64_t {
        const long number = ::syscall(SYS_pidfd_getfd, own->get(), fd, 0);
        const int error = errno;
        own->reset();  // here, not when the thread ends: the caller has the result by then
        return number < 0 ? -error : number;
      },
      [](int64_t number) {
        if (number >= 0) ::close(static_cast<int>(number));
      });
  return Napi::Number::New(info.Env(), static_cast<double>(result));
}

// The kernel waits as in pidfdGetfd for some files of /proc/PID.
Napi::Value readProc(const Napi::CallbackInfo& info) {
  std::string path;
  Span<uint8_t> bytes;
  uint32_t milliseconds;
  if (!readArguments(info, &path, &bytes, &milliseconds)) return info.Env().Undefined();
  auto text = std::make_shared<std::vector<uint8_t>>(bytes.length);
  const int64_t result = apart(
      milliseconds,
      [text, path]() -> int64_t {
        UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (!file.valid()) return -errno;
        size_t at = 0;
        while (at < text->size()) {
          const ssize_t size = ::read(file.get(), text->data() + at, text->size() - at);
          if (size < 0) return -errno;
          if (size == 0) break;
          at += static_cast<size_t>(size);
        }
        return static_cast<int64_t>(at);
      },
      [](int64_t) {});
  if (result > 0) std::copy_n(text->data(), result, bytes.data);
  return Napi::Number::New(info.Env(), static_cast<double>(result));
}

// Node marks all descriptors CLOEXEC when it starts, 0 to 2 included; the program that follows wants these three, and
// `passed` more.
Napi::Value execInPlace(const Napi::CallbackInfo& info) {
  std::string path;
  std::vector<std::string> arguments, variables;
  uint32_t passed;
  if (!readArguments(info, &path, &arguments, &variables, &passed)) return info.Env().Undefined();
  auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> list;
    list.reserve(strings.size() + 1);
    for (auto& string : strings) list.push_back(string.data());
    list.push_back(nullptr);
    return list;
  };
  std::vector<char*> argv = pointers(arguments), envp = pointers(variables);
  const uint32_t kept = 3 + std::min(passed, 0xffffu);
  for (uint32_t fd = 0; fd < kept; fd++) {
    int flags = ::fcntl(static_cast<int>(fd), F_GETFD);
    if (flags >= 0) ::fcntl(static_cast<int>(fd), F_SETFD, flags & ~FD_CLOEXEC);
  }
  if (::syscall(SYS_close_range, kept, ~0U, CLOSE_RANGE_CLOEXEC) < 0) return outcome(info, -1);
  return outcome(info, ::execve(path.c_str(), argv.data(), envp.data()));
}

// getpwnam_r(3) and its kin ask for a larger buffer with ERANGE. Returns 0, or a positive errno; *found may stay null.
template <typename Entry, typename Call>
int lookUp(std::vector<char>* buffer, Entry* entry, Entry** found, Call call) {
  int error;
  buffer->resize(1024);
  while ((error = call(entry, buffer->data(), buffer->size(), found)) == ERANGE && buffer->size() < (1U << 20)) {
    buffer->resize(buffer->size() * 2);
  }
  // "Not found" has many spellings among name service modules (getpwnam(3), ERRORS).
  if (*found == nullptr && (error == ENOENT || error == ESRCH)) return 0;
  return error;
}

Napi::Value findUser(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string name;
  uint32_t uid = 0;
  bool numeric = info[0].IsNumber();
  if (!(numeric ? readArguments(info, &uid) : readArguments(info, &name))) return env.Undefined();
  std::vector<char> buffer;
  passwd entry, *found = nullptr;
  int error = lookUp(&buffer, &entry, &found, [&](passwd* e, char* data, size_t size, passwd** f) {
    return numeric ? ::getpwuid_r(uid, e, data, size, f) : ::getpwnam_r(name.c_str(), e, data, size, f);
  });
  if (error != 0) return Napi::Number::New(env, -error);
  if (found == nullptr) return env.Undefined();

  int count = 64;
  std::vector<gid_t> groups(static_cast<size_t>(count));
  while (::getgrouplist(entry.pw_name, entry.pw_gid, groups.data(), &count) < 0 && groups.size() < 65536) {
    // `count` now says how many there are; some libcs leave it, so grow in any case.
    count = std::max(count, static_cast<int>(groups.size()) * 2);
    groups.resize(static_cast<size_t>(count));
  }
  Napi::Object result = Napi::Object::New(env);
  Napi::Array list = Napi::Array::New(env);
  for (int i = 0; i < count; i++) list.Set(static_cast<uint32_t>(i), Napi::Number::New(env, groups[static_cast<size_t>(i)]));
  result.Set("name", entry.pw_name);
  result.Set("uid", Napi::Number::New(env, entry.pw_uid));
  result.Set("gid", Napi::Number::New(env, entry.pw_gid));
  result.Set("groups", list);
  result.Set("home", entry.pw_dir);
  result.Set("shell", entry.pw_shell);
  return result;
}

Napi::Value findGroup(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::string name;
  uint32_t gid = 0;
  bool numeric = info[0].IsNumber();
  if (!(numeric ? readArguments(info, &gid) : readArguments(info, &name))) return env.Undefined();
  std::vector<char> buffer;
  group entry, *found = nullptr;
  int error = lookUp(&buffer, &entry, &found, [&](group* e, char* data, size_t size, group** f) {
    return numeric ? ::getgrgid_r(gid, e, data, size, f) : ::getgrnam_r(name.c_str(), e, data, size, f);
  });
  if (error != 0) return Napi::Number::New(env, -error);
  if (found == nullptr) return env.Undefined();
  Napi::Object result = Napi::Object::New(env);
  result.Set("name", entry.gr_name);
  result.Set("gid", Napi::Number::New(env, entry.gr_gid));
  return result;
}

// The sockets among a process's descriptors, a line each: `5 socket:[812]`. The kernel waits as in pidfdGetfd to read a
// link of /proc/PID/fd (proc_pid_readlink, since Linux 6.18 at the latest).
Napi::Value readSockets(const Napi::CallbackInfo& info) {
  int32_t pid;
  Span<uint8_t> bytes;
  uint32_t milliseconds;
  if (!readArguments(info, &pid, &bytes, &milliseconds)) return info.Env().Undefined();
  auto text = std::make_shared<std::string>();
  const size_t room = bytes.length;
  const int64_t result = apart(
      milliseconds,
      [text, pid, room]() -> int64_t {
        DIR* const folder = ::opendir(("/proc/" + std::to_string(pid) + "/fd").c_str());
        if (folder == nullptr) return -errno;
        constexpr char kSocket[] = "socket:[";
        while (const dirent* entry = ::readdir(folder)) {
          char target[64];
          const ssize_t size = ::readlinkat(::dirfd(folder), entry->d_name, target, sizeof target);
          if (size < static_cast<ssize_t>(sizeof kSocket) || memcmp(target, kSocket, sizeof kSocket - 1) != 0) continue;
          const std::string line = std::string(entry->d_name) + " " + std::string(target, static_cast<size_t>(size)) + "\n";
          if (text->size() + line.size() > room) break;
          *text += line;
        }
        ::closedir(folder);
        return static_cast<int64_t>(text->size());
      },
      [](int64_t) {});
  if (result > 0) std::copy_n(text->data(), result, bytes.data);
  return Napi::Number::New(info.Env(), static_cast<double>(result));
}

}  // namespace

void exportProcess(Napi::Env env, Napi::Object exports) {
  exportFunction<pidfdOpen>(env, exports, "pidfdOpen");
  exportFunction<pidfdSignal>(env, exports, "pidfdSignal");
  exportFunction<pidfdSignalGroup>(env, exports, "pidfdSignalGroup");
  exportFunction<pidfdGetfd>(env, exports, "pidfdGetfd");
  exportFunction<readSockets>(env, exports, "readSockets");
  exportFunction<readProc>(env, exports, "readProc");
  exportFunction<execInPlace>(env, exports, "exec");
  exportFunction<findUser>(env, exports, "passwd");
  exportFunction<findGroup>(env, exports, "group");
}

}  // namespace berthd
