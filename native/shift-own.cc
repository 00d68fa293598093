// shift-own: moves the owners of a tree into a range of ids. This file reads the command line, starts the walk, shows how
// far it is, and says what has come of it; it never touches a file.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "shift-walk.h"

namespace {

using namespace berthd;

enum ExitCode : int { kFailed = 1, kUsage = 100, kSystem = 111, kSignalled = 128 };

constexpr char kHelp[] =
    "Usage: shift-own -s SHIFT -r RANGE [OPTIONS] PATH\n"
    "\n"
    "Moves the owners of PATH, and of everything below it, into the ids from SHIFT up to SHIFT + RANGE: a user or group\n"
    "id becomes id modulo RANGE + SHIFT, and one that is there already stays. Symbolic links are never followed. What is\n"
    "mounted below PATH is left alone. setuid and setgid bits, file capabilities and ACLs are kept. It can be stopped or\n"
    "killed at any time, and goes on when it is started again.\n"
    "\n"
    "  -s, --shift SHIFT     the first id of the range, such as 0x30000 or 196608\n"
    "  -r, --range RANGE     how many ids there are, such as 0x10000 or 65536\n"
    "  -v, --verbose         print each file whose owner changes\n"
    "  -n, --dry-run         change nothing; count, and with -v print, what would change\n"
    "  -m, --mounts          go into what is mounted below PATH, too\n"
    "  -j, --threads NUMBER  how many threads work (default: one for each processor, at most 8)\n"
    "      --json            print the counts as JSON, for programs\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0, 1 some files could not be shifted, 100 usage, 111 anything else that failed, 130 interrupted.\n"
    "\n"
    "Examples:\n"
    "  shift-own -s 0x30000 -r 0x10000 /srv/arena          owners 0 to 65535 become 196608 to 262143\n"
    "  shift-own -n -v -s 196608 -r 65536 /srv/arena       what would that do?\n"
    "  shift-own -s 0 -r 65536 /srv/arena                  and back\n";

constexpr uint32_t kMaxId = UINT32_MAX - 1;  // the last one means "leave it" to chown(2)
constexpr unsigned kMaxThreads = 64;

struct Options {
  WalkOptions walk;
  bool json = false;
  const char* path = nullptr;
};

[[noreturn, gnu::format(printf, 2, 3)]] void fail(ExitCode code, const char* format, ...) {
  char sentence[8192];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(sentence, sizeof sentence, format, arguments);
  va_end(arguments);
  dprintf(STDERR_FILENO, "shift-own: %s\n", sentence);
  _exit(code);
}

[[noreturn]] void printAndExit(const char* text) {
  fputs(text, stdout);
  if (fflush(stdout) != 0) fail(kSystem, "cannot write to standard output: %m; check where it leads");
  exit(0);
}

// Decimal, or hexadecimal after 0x. No sign, no octal, no space.
uint32_t parseNumber(const char* option, const char* text, uint32_t least, uint32_t most) {
  const bool isHex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
  const char* const digits = text + (isHex ? 2 : 0);
  const bool isPlain = *digits != '\0' && strspn(digits, isHex ? "0123456789abcdefABCDEF" : "0123456789") == strlen(digits);
  errno = 0;
  const unsigned long long number = isPlain ? strtoull(digits, nullptr, isHex ? 16 : 10) : 0;
  if (!isPlain || errno != 0 || number < least || number > most) {
    fail(kUsage, "%s %s is not a number from %" PRIu32 " to %" PRIu32 "; write it in decimal, or in hexadecimal as 0x10000",
         option, printable(text).c_str(), least, most);
  }
  return static_cast<uint32_t>(number);
}

unsigned processors() {
  cpu_set_t set;
  const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return static_cast<unsigned>(std::clamp(count, 1, 8));
}

Options parseOptions(int argc, char** argv) {
  static const option known[] = {
      {"shift", required_argument, nullptr, 's'}, {"range", required_argument, nullptr, 'r'},
      {"verbose", no_argument, nullptr, 'v'},     {"dry-run", no_argument, nullptr, 'n'},
      {"mounts", no_argument, nullptr, 'm'},      {"threads", required_argument, nullptr, 'j'},
      {"json", no_argument, nullptr, 'J'},        {"help", no_argument, nullptr, 'h'},
      {"version", no_argument, nullptr, 'V'},     {nullptr, 0, nullptr, 0},
  };
  Options options;
  options.walk.threads = processors();
  bool hasShift = false;
  opterr = 0;
  int found;
  while ((found = getopt_long(argc, argv, ":s:r:vnmj:", known, nullptr)) != -1) {
    switch (found) {
      case 's':
        options.walk.shift.base = parseNumber("--shift", optarg, 0, kMaxId);
        hasShift = true;
        break;
      case 'r': options.walk.shift.range = parseNumber("--range", optarg, 1, kMaxId); break;
      case 'v': options.walk.verbose = true; break;
      case 'n': options.walk.dryRun = true; break;
      case 'm': options.walk.crossMounts = true; break;
      case 'j': options.walk.threads = parseNumber("--threads", optarg, 1, kMaxThreads); break;
      case 'J': options.json = true; break;
      case 'h': printAndExit(kHelp);
      case 'V': printAndExit("shift-own " BERTHD_VERSION "\n");
      case ':': fail(kUsage, "%s needs a value; see shift-own --help", argv[optind - 1]);
      default: fail(kUsage, "%s is not an option of ours; see shift-own --help", printable(argv[optind - 1]).c_str());
    }
  }
  const Shift& shift = options.walk.shift;
  if (!hasShift) fail(kUsage, "--shift is missing; write the first id of the range, as -s 0x30000");
  if (shift.range == 0) fail(kUsage, "--range is missing; write how many ids there are, as -r 0x10000");
  if (shift.range - 1 > kMaxId - shift.base) {
    fail(kUsage, "--shift %" PRIu32 " and --range %" PRIu32 " reach beyond id %" PRIu32 ", the last there is; lower one of them",
         shift.base, shift.range, kMaxId);
  }
  if (options.json && options.walk.verbose) fail(kUsage, "--json and --verbose both want standard output; take one");
  if (argc - optind != 1 || argv[optind][0] == '\0') {
    fail(kUsage, "%s; write one file or directory", argc - optind > 1 ? "there is more than one PATH" : "PATH is missing");
  }
  options.path = argv[optind];
  return options;
}

// The file itself, never what a symbolic link names; but the links of /proc are descriptors by another name.
UniqueFd openPath(const char* path) {
  constexpr int kFlags = O_PATH | O_CLOEXEC;
  UniqueFd fd(open(path, kFlags | O_NOFOLLOW));
  struct stat status;
  struct statfs filesystem;
  if (fd.valid() && fstat(fd.get(), &status) == 0 && S_ISLNK(status.st_mode) && fstatfs(fd.get(), &filesystem) == 0 &&
      filesystem.f_type == PROC_SUPER_MAGIC) {
    fd.reset(open(path, kFlags));
  }
  if (!fd.valid()) fail(kSystem, "cannot open %s: %m; %s", printable(path).c_str(), remedy(errno));
  return fd;
}

// Half of what may be open is for directories; the rest is for what else needs a descriptor just now.
size_t openFolders() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 16;
  return std::clamp<size_t>(limit.rlim_cur / 2, 1, 512);
}

// Without the slashes at its end.
std::string trimmed(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

sigset_t stopSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction present;
    // nohup(1), and a shell's background, have them ignored.
    if (sigaction(number, nullptr, &present) == 0 && present.sa_handler != SIG_IGN) sigaddset(&set, number);
  }
  return set;
}

// Waits until the walk is done, and returns the signal that stopped it, or 0. People who look at a terminal see how far
// it is, after a second.
int await(Walk& walk, int done, int signals) {
  const bool isTerminal = isatty(STDERR_FILENO) == 1;
  const auto milliseconds = [] {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
  };
  const auto began = milliseconds();
  bool isShown = false;
  int signalled = 0;
  for (;;) {
    pollfd waited[] = {{done, POLLIN}, {signals, POLLIN}};
    const int ready = poll(waited, 2, isTerminal ? 250 : -1);
    if (ready < 0 && errno != EINTR) fail(kSystem, "cannot wait for the threads: %m");
    signalfd_siginfo info;
    if (signalled == 0 && (waited[1].revents & POLLIN) != 0 && read(signals, &info, sizeof info) == sizeof info) {
      signalled = static_cast<int>(info.ssi_signo);
      walk.stop();
    }
    if ((waited[0].revents & POLLIN) != 0) break;
    if (ready == 0 && milliseconds() - began >= 1000) {
      const Counts counts = walk.counts();
      dprintf(STDERR_FILENO, "\r%" PRIu64 " files", counts.shifted + counts.unchanged + counts.failed);
      isShown = true;
    }
  }
  if (isShown) dprintf(STDERR_FILENO, "\r\033[K");
  walk.join();
  return signalled;
}

std::string files(uint64_t count) { return std::to_string(count) + (count == 1 ? " file" : " files"); }

void report(const Options& options, const Counts& counts, bool isStopped) {
  const auto& [shift, dryRun, verbose, crossMounts, threads, openFolders] = options.walk;
  if (options.json) {
    dprintf(STDOUT_FILENO,
            "{\"shift\":%" PRIu32 ",\"range\":%" PRIu32 ",\"shifted\":%" PRIu64 ",\"unchanged\":%" PRIu64
            ",\"failed\":%" PRIu64 ",\"mounts\":%" PRIu64 ",\"dryRun\":%s,\"complete\":%s}\n",
            shift.base, shift.range, counts.shifted, counts.unchanged, counts.failed, counts.mounts,
            dryRun ? "true" : "false", isStopped ? "false" : "true");
    return;
  }
  std::string extra;
  if (counts.unchanged > 0) extra += ", " + files(counts.unchanged) + " already there";
  if (counts.failed > 0) extra += ", " + files(counts.failed) + " failed";
  if (counts.mounts > 0) extra += ", " + std::to_string(counts.mounts) + (counts.mounts == 1 ? " mount" : " mounts") + " left alone";
  if (isStopped) extra += "; stopped, start it again to go on";
  dprintf(STDOUT_FILENO, "%s under %s %s with 0x%" PRIx32 " using range 0x%" PRIx32 "%s\n", files(counts.shifted).c_str(),
          printable(trimmed(options.path)).c_str(), dryRun ? "would be shifted" : "shifted", shift.base, shift.range,
          extra.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  std::set_new_handler([] { fail(kSystem, "out of memory; start it again to go on"); });
  Options options = parseOptions(argc, argv);
  options.walk.openFolders = openFolders();
  UniqueFd fd = openPath(options.path);

  const sigset_t set = stopSignals();
  // Before there are threads: they inherit it.
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  const UniqueFd signals(signalfd(-1, &set, SFD_CLOEXEC)), done(eventfd(0, EFD_CLOEXEC));
  if (!signals.valid() || !done.valid()) fail(kSystem, "cannot make a descriptor to wait on: %m; %s", remedy(errno));

  Walk walk(options.walk);
  walk.begin(std::move(fd), trimmed(options.path), done.get());
  const int signalled = await(walk, done.get(), signals.get());
  report(options, walk.counts(), signalled != 0);
  if (walk.outputError() != 0) {
    errno = walk.outputError();
    fail(kSystem, "cannot write to standard output: %m; what was asked for is done");
  }
  if (signalled != 0) return kSignalled + signalled;
  return walk.counts().failed == 0 ? 0 : kFailed;
}
