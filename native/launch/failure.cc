// How the launcher says why it fails: on stderr, to the service manager, and to the program that started it (--report).
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "common/notify.h"
#include "common/printable.h"
#include "launch.h"

namespace berthd {
namespace {

constexpr size_t kSentenceMax = 4096;
constexpr size_t kLineMax = 4 * kSentenceMax;  // no byte needs more than four

// Where the last sentence goes, besides stderr: to the program that started this process. -1: nowhere.
int reportFd = -1;

// Makes one line of it, whatever names and messages are in it. `line` has room for kLineMax bytes.
int lineOf(char* line, const char* format, va_list arguments) {
  char sentence[kSentenceMax];
  vsnprintf(sentence, sizeof sentence, format, arguments);
  size_t length = 0;
  escapeText(sentence, strlen(sentence), [&](const char* piece, size_t size) {
    memcpy(line + length, piece, size);
    length += size;
  });
  return static_cast<int>(length);
}

void printLine(const char* line, int length) { dprintf(STDERR_FILENO, "berth-launch: %.*s\n", length, line); }

// The service manager shows it as the unit's status.
void tellManager(const char* line, int length) {
  char state[kLineMax + 32];
  snprintf(state, sizeof state, "STATUS=berth-launch: %.*s", length, line);
  notifyManager(state, MSG_DONTWAIT);
}

}  // namespace

void reportTo(int fd) {
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) fail(kUsage, "--report %d is no open descriptor; pass one, as 3", fd);
  reportFd = fd;
}

void keepReport(int above, List<int>& kept) {
  if (reportFd < 0) return;
  const int moved = fcntl(reportFd, F_DUPFD_CLOEXEC, above);
  // Without it the start fails or succeeds as before; only nobody hears why.
  if (moved >= 0) kept.push(moved);
  close(reportFd);
  reportFd = moved;
}

void fail(ExitCode code, const char* format, ...) {
  // The exit code stays the same when stderr cannot be written to.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  char line[kLineMax];
  va_list arguments;
  va_start(arguments, format);
  const int length = lineOf(line, format, arguments);
  va_end(arguments);
  printLine(line, length);
  if (reportFd >= 0) dprintf(reportFd, "%.*s", length, line);
  tellManager(line, length);
  _exit(code);
}

void warn(const char* format, ...) {
  char line[kLineMax];
  va_list arguments;
  va_start(arguments, format);
  printLine(line, lineOf(line, format, arguments));
  va_end(arguments);
}

}  // namespace berthd
