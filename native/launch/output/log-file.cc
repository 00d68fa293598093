// The log of one server, as log-file.h describes it. It is opened by name in its folder, never through a link.
#include "log-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/eintr.h"

namespace berthd {
namespace {

constexpr mode_t kMode = 0640;

// The name of an old file; 0 is the one that is written to.
struct Numbered {
  char text[NAME_MAX + 1];
  Numbered(const char* name, int number) {
    if (number == 0) snprintf(text, sizeof text, "%s", name);
    else snprintf(text, sizeof text, "%s.%d", name, number);
  }
};

class Locked {
 public:
  explicit Locked(int fd) : fd_(fd) {}
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;
  ~Locked() {
    const int error = errno;
    flock(fd_, LOCK_UN);
    errno = error;
  }

 private:
  int fd_;
};

bool isFull(const struct stat& file, size_t more) {
  return file.st_size > 0 && file.st_size + static_cast<long>(more) > LogFile::kFileMax;
}

// How much of the text is whole lines.
size_t wholeLines(const char* text, size_t size) {
  const void* const last = memrchr(text, '\n', size);
  return last == nullptr ? 0 : static_cast<size_t>(static_cast<const char*>(last) - text) + 1;
}

}  // namespace

bool LogFile::open() {
  const int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  file_.reset(openat(folder_.get(), name_, flags, kMode));
  if (!file_.valid()) return false;
  struct stat file;
  if (fstat(file_.get(), &file) != 0) return false;
  if (!S_ISREG(file.st_mode)) {
    errno = EINVAL;
    return false;
  }
  // Whatever the umask is. Of a file that another user owns it stays as it is.
  if ((file.st_mode & 07777) != kMode) fchmod(file_.get(), kMode);
  return true;
}

bool LogFile::isCurrent() const {
  struct stat file, named;
  return fstat(file_.get(), &file) == 0 && fstatat(folder_.get(), name_, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         file.st_dev == named.st_dev && file.st_ino == named.st_ino;
}

bool LogFile::lock() {
  for (;;) {
    if (!file_.valid() && !open()) return false;
    if (retryOnEintr([&] { return flock(file_.get(), LOCK_EX); }) != 0) return false;
    if (isCurrent()) return true;
    file_.reset();  // with the lock: another process has rotated it, or somebody has removed it
  }
}

// The lock of the old file goes with it: who waits for it finds that it is not the current one.
bool LogFile::rotate() {
  for (int number = kOldFiles; number > 0; number--) {
    const Numbered from(name_, number - 1), to(name_, number);
    if (renameat(folder_.get(), from.text, folder_.get(), to.text) != 0 && errno != ENOENT) return false;
  }
  file_.reset();
  return lock();
}

size_t LogFile::append(const char* lines, size_t size) {
  struct stat file;
  if (!lock()) return 0;
  if (fstat(file_.get(), &file) != 0 || (isFull(file, size) && (!rotate() || fstat(file_.get(), &file) != 0))) {
    file_.reset();  // with the lock
    return 0;
  }
  const Locked locked(file_.get());
  size_t written = 0;
  while (written < size) {
    const ssize_t count = retryOnEintr([&] { return write(file_.get(), lines + written, size - written); });
    if (count <= 0) break;
    written += static_cast<size_t>(count);
  }
  if (written == size) return size;
  const int error = errno;
  const size_t whole = wholeLines(lines, written);
  // Half a line would have the next one at its end.
  if (whole < written && ftruncate(file_.get(), file.st_size + static_cast<long>(whole)) != 0) file_.reset();
  errno = error;
  return whole;
}

void LogFile::keep(List<int>& kept) const {
  kept.push(folder_.get());
  if (file_.valid()) kept.push(file_.get());
}

}  // namespace berthd
