// --log: what the server writes to its standard output and error becomes lines of a log of its own. A process beside
// the server copies them, from a pipe. It is nobody's child: it outlives the broker, and ends when the last process has
// closed the pipe. It has no capability, and can reach no folder but that of the logs.
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/eintr.h"
#include "common/printable.h"
#include "log-file.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace berthd {
namespace {

// A longer line becomes several, which end with an ellipsis but for the last.
constexpr size_t kLineMax = 16 << 10;
constexpr char kEllipsis[] = "…";
constexpr size_t kReadMax = 64 << 10;
constexpr size_t kPendingMax = 256 << 10;
constexpr int kPipeSize = 256 << 10;
constexpr int kRetryMs = 1000;

// Now, in UTC, as 2026-11-29T14:28:01.123Z.
struct Time {
  char text[64];
  Time() {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    tm utc;
    gmtime_r(&now.tv_sec, &utc);
    const size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + length, sizeof text - length, ".%03ldZ", now.tv_nsec / 1000000);
  }
};

class Copier {
 public:
  Copier(LogFile& log, pid_t server) : log_(log), server_(server) {}

  // Until the end of the pipe.
  void copy(int pipe) {
    note("pid %d starts", server_);
    write();
    for (;;) {
      pollfd ready = {pipe, POLLIN, 0};
      // What was dropped is told as soon as there is room, also when the server writes nothing more.
      if (dropped_ > 0 && poll(&ready, 1, kRetryMs) == 0) {
        write();
        continue;
      }
      const ssize_t count = retryOnEintr([&] { return read(pipe, input_, sizeof input_); });
      if (count <= 0) break;
      take(input_, static_cast<size_t>(count));
      write();
    }
    if (length_ > 0) finishLine("");
    note("the output of pid %d has ended", server_);
    write();
  }

 private:
  void take(const char* text, size_t size) {
    while (size > 0) {
      const void* const end = memchr(text, '\n', size);
      const size_t more = end == nullptr ? size : static_cast<size_t>(static_cast<const char*>(end) - text);
      const size_t taken = more < kLineMax - length_ ? more : kLineMax - length_;
      memcpy(line_ + length_, text, taken);
      length_ += taken;
      text += taken;
      size -= taken;
      if (taken == more && end != nullptr) {
        text++;
        size--;
        if (length_ > 0 && line_[length_ - 1] == '\r') length_--;
        finishLine("");
      } else if (length_ == kLineMax) {
        breakLine();
      }
    }
  }

  // Not within a character of several bytes.
  void breakLine() {
    size_t start = length_ - 1;
    while (start > length_ - 4 && (line_[start] & 0xc0) == 0x80) start--;
    uint32_t point;
    const bool isWhole = (line_[start] & 0xc0) != 0xc0 || decodeUtf8(line_ + start, length_ - start, &point) != 0;
    char rest[4];
    const size_t left = isWhole ? 0 : length_ - start;
    memcpy(rest, line_ + length_ - left, left);
    length_ -= left;
    finishLine(kEllipsis);
    memcpy(line_, rest, left);
    length_ = left;
  }

  void finishLine(const char* mark) {
    begin();
    format("server[%d]: ", server_);
    escapeText(line_, length_, [&](const char* piece, size_t size) { put(piece, size); });
    put(mark, strlen(mark));
    put("\n", 1);
    length_ = 0;
  }

  // A line of our own. Each line of the server begins with `server`.
  template <typename... Values>
  void note(const char* text, Values... values) {
    begin();
    put("berthd: ", 8);
    format(text, values...);
    put("\n", 1);
  }

  // Makes room, and puts the time.
  void begin() {
    if (kPendingMax - size_ < 4 * kLineMax + 256) write();
    format("%s ", Time().text);
  }

  template <typename... Values>
  void format(const char* text, Values... values) {
    size_ += static_cast<size_t>(snprintf(pending_ + size_, kPendingMax - size_, text, values...));
  }

  void put(const char* text, size_t size) {
    memcpy(pending_ + size_, text, size);
    size_ += size;
  }

  void write() {
    if (dropped_ > 0 && !tellDropped()) {
      drop(0);
      return;
    }
    if (size_ == 0) return;
    const size_t written = log_.append(pending_, size_);
    if (written < size_) drop(written);
    size_ = 0;
  }

  void drop(size_t from) {
    if (size_ > from) why_ = errno;
    for (size_t at = from; at < size_; at++) dropped_ += pending_[at] == '\n';
    size_ = 0;
  }

  // Goes before the lines that follow the lost ones.
  bool tellDropped() {
    char line[256];
    const int length = snprintf(line, sizeof line, "%s berthd: %lu %s not written: %s\n", Time().text, dropped_,
                                dropped_ == 1 ? "line was" : "lines were", strerror(why_));
    if (log_.append(line, static_cast<size_t>(length)) != static_cast<size_t>(length)) return false;
    dropped_ = 0;
    return true;
  }

  LogFile& log_;
  const pid_t server_;
  unsigned long dropped_ = 0;
  int why_ = 0;
  size_t length_ = 0;
  size_t size_ = 0;
  char input_[kReadMax];
  char line_[kLineMax];
  char pending_[kPendingMax];
};

// The bytes of the server are all that comes in; still, there is nothing to gain here but the logs.
void confine(const LogFile& log) {
  if (fchdir(log.folder()) != 0) chdir("/");
  else if (geteuid() == 0 && chroot(".") != 0) chdir("/");
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const __user_cap_data_struct none[2] = {};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  syscall(SYS_capset, &header, none);
}

void closeOthers(List<int>& kept) {
  unsigned from = 0;
  for (;;) {
    int next = -1;
    for (int fd : kept) {
      if (fd >= static_cast<int>(from) && (next < 0 || fd < next)) next = fd;
    }
    if (next < 0) break;
    if (static_cast<unsigned>(next) > from) syscall(SYS_close_range, from, next - 1, 0);
    from = static_cast<unsigned>(next) + 1;
  }
  syscall(SYS_close_range, from, ~0U, 0);
}

[[noreturn]] void run(LogFile& log, const UniqueFd& pipe, pid_t server) {
  prctl(PR_SET_NAME, "berth-log");
  // At a shutdown everybody gets SIGTERM. The last lines of the server come after that.
  const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGXFSZ};
  for (int number : ignored) signal(number, SIG_IGN);
  List<int> kept;
  log.keep(kept);
  kept.push(pipe.get());
  closeOthers(kept);
  confine(log);
  Copier* const copier = static_cast<Copier*>(calloc(1, sizeof(Copier)));
  if (copier != nullptr) (new (copier) Copier(log, server))->copy(pipe.get());
  _exit(0);
}

// As a child of nobody here: the server may wait for all its children.
bool startCopier(LogFile& log, const UniqueFd& pipe) {
  const pid_t server = getpid();
  const pid_t between = fork();
  if (between < 0) return false;
  if (between == 0) {
    setsid();
    const pid_t copier = fork();
    if (copier == 0) run(log, pipe, server);
    _exit(copier < 0 ? errno : 0);
  }
  int status = 0;
  if (retryOnEintr([&] { return waitpid(between, &status, 0); }) != between) return true;  // SIGCHLD is ignored
  errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
  return errno == 0;
}

}  // namespace

void logOutput(const char* path) {
  const char* const slash = strrchr(path, '/');
  if (slash == nullptr || slash[1] == '\0') fail(kUsage, "--log %s names no file in a folder; write --log DIR/FILE", path);
  Text directory;
  directory.append(path, slash == path ? 1 : static_cast<size_t>(slash - path));
  LogFile log(UniqueFd(::open(directory.string(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), slash + 1);
  int ends[2];
  if (log.folder() < 0 || !log.open() || pipe2(ends, O_CLOEXEC) != 0) {
    warn("cannot write to %s: %m; the server's output goes to the broker's log", path);
    return;
  }
  const UniqueFd output(ends[0]), input(ends[1]);
  fcntl(input.get(), F_SETPIPE_SZ, kPipeSize);
  // The server, which runs as another user, may open it again as /dev/stdout.
  fchmod(input.get(), 0222);
  if (!startCopier(log, output)) {
    warn("cannot start a process that writes %s: %m; the server's output goes to the broker's log", path);
    return;
  }
  dup2(input.get(), STDOUT_FILENO);
  dup2(input.get(), STDERR_FILENO);
}

}  // namespace berthd
