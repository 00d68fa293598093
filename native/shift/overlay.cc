// Builds shift-mount's overlay. A step that fails is reported with the kernel's own message.
#include "overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mount-abi.h"

namespace berthd {
namespace {

// In overlayfs options a colon separates layers, and a backslash escapes the next character.
std::string escaped(const std::string& path) {
  std::string out;
  for (char letter : path) {
    if (letter == ':' || letter == '\\') out += '\\';
    out += letter;
  }
  return out;
}

// What errno says, and the last message that the kernel logged for this fsopen(2) context: "overlay: …".
std::string reasonOf(int context, int error) {
  char message[512];
  std::string logged;
  for (ssize_t length; context >= 0 && (length = read(context, message, sizeof message)) > 0;) {
    // The first letter is the severity: "e ", "w " or "i ".
    const size_t skipped = length > 2 && message[1] == ' ' ? 2 : 0;
    logged.assign(message + skipped, static_cast<size_t>(length) - skipped);
    while (!logged.empty() && logged.back() == '\n') logged.pop_back();
  }
  return logged.empty() ? strerror(error) : std::string(strerror(error)) + " (" + logged + ")";
}

bool writeMap(pid_t pid, const char* name, const Shift& shift) {
  char path[64], map[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  const int length = snprintf(map, sizeof map, "0 %u %u\n", shift.base, shift.range);
  const UniqueFd file(open(path, O_WRONLY | O_CLOEXEC));
  return file.valid() && write(file.get(), map, static_cast<size_t>(length)) == length;
}

}  // namespace

// A child makes the namespace, and is killed once the namespace is open. Call it before there are threads.
UniqueFd userNamespace(const Shift& shift) {
  const pid_t pid = static_cast<pid_t>(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  if (pid < 0) return UniqueFd(-errno);
  if (pid == 0) {
    for (;;) syscall(SYS_ppoll, nullptr, 0, nullptr, nullptr, 0);  // arm64 has no pause(2)
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
  const bool isMapped = writeMap(pid, "uid_map", shift) && writeMap(pid, "gid_map", shift);
  UniqueFd fd(isMapped ? open(path, O_RDONLY | O_CLOEXEC) : -1);
  const int error = errno;
  kill(pid, SIGKILL);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) continue;
  return fd.valid() ? std::move(fd) : UniqueFd(-error);
}

UniqueFd makeOverlay(const Layers& layers, int userns, MountProblem& problem) {
  // `context`: where the kernel logged the failure, if it did.
  const auto fails = [&](std::string doing, int context = -1) {
    const int error = errno;
    problem = {std::move(doing), reasonOf(context, error), error};
    return UniqueFd();
  };
  const UniqueFd context(openFileSystem("overlay"));
  if (!context.valid()) return fails("make an overlay");
  const auto set = [&](const char* key, const std::string& value) {
    return configureFileSystem(context.get(), kSetString, key, value.c_str()) == 0;
  };
  UniqueFd lower;
  if (userns >= 0) {
    lower.reset(openTree(AT_FDCWD, layers.lower.c_str(), kOpenTreeClone));
    if (!lower.valid()) return fails("copy the mount of " + layers.lower);
    const MountAttributes attributes = {kMountIdmap, 0, 0, static_cast<uint64_t>(userns)};
    if (setMountAttributes(lower.get(), attributes) != 0) {
      return fails("map the ids of " + layers.lower);
    }
    if (configureFileSystem(context.get(), kSetFd, "lowerdir+", nullptr, lower.get()) != 0) {
      return fails("use " + layers.lower + " as an idmapped layer", context.get());
    }
  } else if (!set("lowerdir", escaped(layers.lower))) {
    return fails("use " + layers.lower + " as a layer", context.get());
  }
  const std::pair<const char*, std::string> options[] = {
      {"source", "shift-mount"}, {"upperdir", escaped(layers.upper)}, {"workdir", escaped(layers.work)},
      // Without redirect_dir, a directory of the image cannot be renamed. Without index, the hard links of a file
      // become separate files.
      {"metacopy", "on"}, {"redirect_dir", "on"}, {"index", "on"},
  };
  for (const auto& [key, value] : options) {
    if (!set(key, value)) return fails(std::string("set ") + key + "=" + value, context.get());
  }
  if (createFileSystem(context.get()) != 0) return fails("make the overlay", context.get());
  UniqueFd mount(makeMount(context.get()));
  return mount.valid() ? std::move(mount) : fails("mount the overlay", context.get());
}

int attach(int mount, const char* directory) {
  return moveMount(mount, directory) != 0 ? -errno : 0;
}

int detach(int mount) {
  char path[32];
  snprintf(path, sizeof path, "/proc/self/fd/%d", mount);
  return umount2(path, MNT_DETACH) != 0 ? -errno : 0;
}

}  // namespace berthd
