// shift-own: moves the owners of a tree into a range of ids. This file reads the command line, starts the walk and
// prints the result. It never changes a file.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "program.h"

namespace {

using namespace berthd;

constexpr char kHelp[] =
    "Usage: shift-own -s SHIFT [OPTIONS] PATH\n"
    "\n"
    "Moves the owners of PATH, and of everything below it, into the range from SHIFT up to SHIFT + RANGE. A user or group\n"
    "id becomes (id modulo RANGE) + SHIFT; an id in the range stays. Symbolic links are not followed, and mounts below\n"
    "PATH are left alone. Setuid and setgid bits, file capabilities and ACLs are kept. You can stop or kill it at any\n"
    "time; run it again to continue.\n"
    "\n"
    "  -s, --shift SHIFT     the first id of the range, such as 0x30000 or 196608\n"
    "  -r, --range RANGE     how many ids the range has (default: 0x10000)\n"
    "  -v, --verbose         print each file whose owner changes\n"
    "  -n, --dry-run         change nothing; count what would change, and print it with -v\n"
    "  -m, --mounts          shift what is mounted below PATH, too\n"
    "  -j, --threads NUMBER  how many threads to use (default: one for each processor, at most 8)\n"
    "      --json            print the counts as JSON, for programs\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0, 1 some files could not be shifted, 100 usage, 111 any other failure, 130 interrupted.\n"
    "\n"
    "Examples:\n"
    "  shift-own -s 0x30000 /srv/arena             owners 0 to 65535 become 196608 to 262143\n"
    "  shift-own -n -v -s 196608 /srv/arena        what would that change?\n"
    "  shift-own -s 0 /srv/arena                   back to 0 to 65535\n"
    "  shift-own -s 0x30000 -r 0x4000 /srv/arena   a smaller range: 196608 to 212991\n";

struct Options {
  WalkOptions walk;
  bool json = false;
  const char* path = nullptr;
};

Options parseOptions(int argc, char** argv) {
  static const option known[] = {
      {"shift", required_argument, nullptr, 's'}, {"range", required_argument, nullptr, 'r'},
      {"verbose", no_argument, nullptr, 'v'},     {"dry-run", no_argument, nullptr, 'n'},
      {"mounts", no_argument, nullptr, 'm'},      {"threads", required_argument, nullptr, 'j'},
      {"json", no_argument, nullptr, 'J'},        {"help", no_argument, nullptr, 'h'},
      {"version", no_argument, nullptr, 'V'},     {nullptr, 0, nullptr, 0},
  };
  Options options;
  options.walk.shift.range = kDefaultRange;
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
      case ':': fail(kUsage, "option %s needs a value; see shift-own --help", argv[optind - 1]);
      default: fail(kUsage, "there is no option %s; see shift-own --help", printable(argv[optind - 1]).c_str());
    }
  }
  const Shift& shift = options.walk.shift;
  if (!hasShift) fail(kUsage, "--shift is missing; give the first id of the range: -s 0x30000");
  checkRange(shift);
  if (options.json && options.walk.verbose) fail(kUsage, "--json and --verbose both write to standard output; use one of them");
  if (argc - optind != 1 || argv[optind][0] == '\0') {
    fail(kUsage, "%s; give one file or directory", argc - optind > 1 ? "there is more than one PATH" : "PATH is missing");
  }
  options.path = argv[optind];
  return options;
}

// Opens the file itself: a symbolic link is not followed. The links of /proc are: they stand for descriptors.
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

void report(const Options& options, const Counts& counts, bool isStopped) {
  const Shift& shift = options.walk.shift;
  const bool dryRun = options.walk.dryRun;
  if (options.json) {
    dprintf(STDOUT_FILENO,
            "{\"shift\":%" PRIu32 ",\"range\":%" PRIu32 ",\"shifted\":%" PRIu64 ",\"unchanged\":%" PRIu64
            ",\"failed\":%" PRIu64 ",\"mounts\":%" PRIu64 ",\"dryRun\":%s,\"complete\":%s}\n",
            shift.base, shift.range, counts.shifted, counts.unchanged, counts.failed, counts.mounts,
            dryRun ? "true" : "false", isStopped ? "false" : "true");
    return;
  }
  dprintf(STDOUT_FILENO, "%s%s\n", summary(counts, shift, options.path, dryRun).c_str(),
          isStopped ? "; stopped, run it again to continue" : "");
}

}  // namespace

int main(int argc, char** argv) {
  startProgram("shift-own");
  const Options options = parseOptions(argc, argv);
  UniqueFd fd = openPath(options.path);
  const UniqueFd signals = catchSignals();
  Walk walk(options.walk);
  const int signalled = run(walk, std::move(fd), trimmed(options.path), signals.get());
  report(options, walk.counts(), signalled != 0);
  if (walk.outputError() != 0) {
    errno = walk.outputError();
    fail(kSystem, "cannot write to standard output: %m; the owners are shifted, only the output is incomplete");
  }
  if (signalled != 0) return kSignalled + signalled;
  return walk.counts().failed == 0 ? 0 : kFailed;
}
