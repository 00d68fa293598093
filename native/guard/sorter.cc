// What a received descriptor is, found out without a call that its file system could leave without an answer.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/eintr.h"
#include "guard.h"

#ifndef AT_STATX_DONT_SYNC
#define AT_STATX_DONT_SYNC 0x4000
#endif
// Linux 5.8.
#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000
#endif
#ifndef F_GET_SEALS
#define F_GET_SEALS 1034
#endif

namespace berthd {
namespace {

// File systems that answer by themselves: on a disk or in memory. Any other may wait for a program or a network.
constexpr const char* kLocal[] = {"ext2", "ext3", "ext4", "xfs",      "btrfs",    "f2fs",  "tmpfs",
                                  "ramfs", "overlay", "zfs", "bcachefs", "squashfs", "erofs", "jfs"};

constexpr char kListener[] = "anon_inode:seccomp notify";

// AT_STATX_DONT_SYNC: FUSE answers from what it has cached (statx(2)).
bool look(int fd, struct statx* status) {
  return ::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MNT_ID, status) == 0;
}

bool isLocalType(const char* type) {
  for (const char* known : kLocal) {
    if (strcmp(type, known) == 0) return true;
  }
  return false;
}

struct MountLine {
  unsigned long id, major, minor;
  bool isLocal;
};

// A line of mountinfo (proc_pid_mountinfo(5)): ID PARENT MAJOR:MINOR … - TYPE SOURCE OPTIONS.
bool readLine(char* line, MountLine* mount) {
  char* end;
  mount->id = strtoul(line, &end, 10);
  char* at = *end == ' ' ? strchr(end + 1, ' ') : nullptr;
  if (at == nullptr) return false;
  mount->major = strtoul(at + 1, &end, 10);
  if (*end != ':') return false;
  mount->minor = strtoul(end + 1, &end, 10);
  char* type = strstr(end, " - ");
  if (type == nullptr) return false;
  type += 3;
  char* after = strchr(type, ' ');
  if (after != nullptr) *after = '\0';
  mount->isLocal = isLocalType(type);
  return true;
}

}  // namespace

bool Sorter::open() {
  own_.reset(::open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  mounts_.reset(::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
  int ends[2];
  if (!own_.valid() || !mounts_.valid() || ::pipe2(ends, O_CLOEXEC) != 0) return false;
  UniqueFd in(ends[0]), out(ends[1]);
  struct statx pipe;
  if (!berthd::look(in.get(), &pipe)) return false;
  pipeMajor_ = pipe.stx_dev_major;
  pipeMinor_ = pipe.stx_dev_minor;
  return true;
}

Verdict Sorter::look(int fd) const {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return kIsPath;
  struct statx status;
  if (!berthd::look(fd, &status)) return kIsUnknown;
  if (S_ISSOCK(status.stx_mode)) return kPasses;
  if ((status.stx_mode & S_IFMT) == 0) return isSeccompListener(fd) ? kPasses : kIsOther;
  const unsigned major = status.stx_dev_major, minor = status.stx_dev_minor;
  if (S_ISFIFO(status.stx_mode) && major == pipeMajor_ && minor == pipeMinor_) return kPasses;
  if (!S_ISREG(status.stx_mode) && !S_ISFIFO(status.stx_mode)) return kIsOther;
  // Only files in memory have seals: a memfd, whose file system is mounted nowhere.
  if (S_ISREG(status.stx_mode) && ::fcntl(fd, F_GET_SEALS) >= 0) return kPasses;
  const uint64_t mount = (status.stx_mask & STATX_MNT_ID) == 0 ? 0 : status.stx_mnt_id;
  return isLocal(mount, major, minor) ? kPasses : kMayNotAnswer;
}

bool Sorter::isSeccompListener(int fd) const {
  char name[16];
  // No snprintf: it may allocate.
  char digits[12];
  size_t count = 0, length = 0;
  for (unsigned rest = static_cast<unsigned>(fd); count == 0 || rest > 0; rest /= 10) {
    digits[count++] = static_cast<char>('0' + rest % 10);
  }
  while (count > 0) name[length++] = digits[--count];
  name[length] = '\0';
  char link[64];
  const ssize_t size = ::readlinkat(own_.get(), name, link, sizeof link);
  return size == static_cast<ssize_t>(sizeof kListener - 1) && memcmp(link, kListener, sizeof kListener - 1) == 0;
}

// By its mount, for each subvolume of Btrfs has a device of its own; else by its device. One that is mounted nowhere
// here is a disk of another mount namespace, or an anonymous device, which may be anything.
bool Sorter::isLocal(uint64_t mount, unsigned major, unsigned minor) const {
  static char buffer[64 * 1024];
  size_t kept = 0;
  off_t at = 0;
  bool isLocalDevice = major != 0;
  for (;;) {
    const ssize_t size =
        retryOnEintr([&] { return ::pread(mounts_.get(), buffer + kept, sizeof buffer - 1 - kept, at); });
    if (size <= 0) return isLocalDevice;
    at += size;
    kept += static_cast<size_t>(size);
    buffer[kept] = '\0';
    char* line = buffer;
    while (char* end = strchr(line, '\n')) {
      *end = '\0';
      MountLine found;
      if (readLine(line, &found)) {
        if (found.id == mount) return found.isLocal;
        if (found.major == major && found.minor == minor) isLocalDevice = found.isLocal;
      }
      line = end + 1;
    }
    kept = static_cast<size_t>(buffer + kept - line);
    if (kept == sizeof buffer - 1) kept = 0;  // no line is that long
    memmove(buffer, line, kept);
  }
}

}  // namespace berthd
