// How both programs start, read numbers, handle signals, show progress and end. Never touches a file.
#include "program.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include <new>

namespace berthd {
namespace {

const char* program = "";

std::string files(uint64_t count) { return std::to_string(count) + (count == 1 ? " file" : " files"); }

int64_t milliseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * int64_t{1000} + now.tv_nsec / 1000000;
}

}  // namespace

const char* programName() { return program; }

void startProgram(const char* name) {
  program = name;
  std::set_new_handler([] { fail(kSystem, "out of memory; raise the memory limit, then run it again to continue"); });
}

void fail(ExitCode code, const char* format, ...) {
  char sentence[8192];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sentence, sizeof sentence, format, arguments);
  va_end(arguments);
  dprintf(STDERR_FILENO, "%s: %s\n", program, sentence);
  _exit(code);
}

void printAndExit(const char* text) {
  fputs(text, stdout);
  if (fflush(stdout) != 0) fail(kSystem, "cannot write to standard output: %m; check where it is redirected");
  exit(0);
}

// Takes no sign, no octal number and no space.
uint32_t parseNumber(const char* option, const char* text, uint32_t least, uint32_t most) {
  const bool isHex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
  const char* const digits = text + (isHex ? 2 : 0);
  const bool isPlain = *digits != '\0' && strspn(digits, isHex ? "0123456789abcdefABCDEF" : "0123456789") == strlen(digits);
  errno = 0;
  const unsigned long long number = isPlain ? strtoull(digits, nullptr, isHex ? 16 : 10) : 0;
  if (!isPlain || errno != 0 || number < least || number > most) {
    fail(kUsage, "%s %s is not a number from %" PRIu32 " to %" PRIu32 "; write a decimal number, or 0x and a hexadecimal one",
         option, printable(text).c_str(), least, most);
  }
  return static_cast<uint32_t>(number);
}

void checkRange(const Shift& shift) {
  if (shift.range - 1 <= kMaxId - shift.base) return;
  fail(kUsage, "--shift %" PRIu32 " with --range %" PRIu32 " ends above the last id, %" PRIu32 "; lower one of them",
       shift.base, shift.range, kMaxId);
}

std::string trimmed(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

UniqueFd catchSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction present;
    // nohup(1) ignores SIGHUP, and a shell ignores SIGINT for background jobs.
    if (sigaction(number, nullptr, &present) == 0 && present.sa_handler != SIG_IGN) sigaddset(&set, number);
  }
  // Threads inherit the mask, so it is set before any starts.
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC));
  if (!fd.valid()) fail(kSystem, "cannot create a signalfd: %m; %s", remedy(errno));
  return fd;
}

int run(Walk& walk, UniqueFd fd, std::string path, int signals) {
  const UniqueFd done(eventfd(0, EFD_CLOEXEC));
  if (!done.valid()) fail(kSystem, "cannot create an eventfd: %m; %s", remedy(errno));
  const bool isTerminal = isatty(STDERR_FILENO) == 1;
  const int64_t began = milliseconds();
  bool isShown = false;
  int signalled = 0;
  walk.begin(std::move(fd), std::move(path), done.get());
  for (;;) {
    pollfd waited[] = {{done.get(), POLLIN, 0}, {signals, POLLIN, 0}};
    const int ready = poll(waited, 2, isTerminal ? 250 : -1);
    if (ready < 0 && errno != EINTR) fail(kSystem, "cannot wait for the threads to end: %m; run it again");
    if (ready < 0) continue;
    signalfd_siginfo info;
    if (signalled == 0 && (waited[1].revents & POLLIN) != 0 && read(signals, &info, sizeof info) == sizeof info) {
      signalled = static_cast<int>(info.ssi_signo);
      walk.stop();
    }
    if ((waited[0].revents & POLLIN) != 0) break;
    if (ready == 0 && milliseconds() - began >= 1000) {
      const Counts counts = walk.counts();
      dprintf(STDERR_FILENO, "\r%s", files(counts.shifted + counts.unchanged + counts.failed).c_str());
      isShown = true;
    }
  }
  if (isShown) dprintf(STDERR_FILENO, "\r\033[K");
  walk.join();
  return signalled;
}

std::string summary(const Counts& counts, const Shift& shift, const std::string& path, bool dryRun) {
  char numbers[64];
  snprintf(numbers, sizeof numbers, " with 0x%" PRIx32 " using range 0x%" PRIx32, shift.base, shift.range);
  std::string text = files(counts.shifted) + " under " + printable(path) + (dryRun ? " would be shifted" : " shifted") + numbers;
  if (counts.unchanged > 0) text += ", " + files(counts.unchanged) + " already there";
  if (counts.failed > 0) text += ", " + files(counts.failed) + " failed";
  if (counts.mounts > 0) text += ", " + std::to_string(counts.mounts) + (counts.mounts == 1 ? " mount" : " mounts") + " left alone";
  return text;
}

}  // namespace berthd
