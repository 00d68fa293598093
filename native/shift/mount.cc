// shift-mount: shows a tree with shifted owners, in an overlay that stores owners and no file data. It attaches the
// overlay once all owners are shifted. It never changes the tree itself.
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/notify.h"
#include "overlay.h"
#include "program.h"

namespace {

using namespace berthd;

constexpr char kHelp[] =
    "Usage: shift-mount [OPTIONS] LOWER INT MOUNTPOINT\n"
    "\n"
    "Mounts LOWER at MOUNTPOINT, with its owners shifted as by shift-own. LOWER is not changed. INT stores the new owners\n"
    "and what is written below MOUNTPOINT, but no copies of LOWER's data. Missing directories INT and MOUNTPOINT are\n"
    "created. Use the same INT again to continue where you left off. shift-mount runs until SIGINT or SIGTERM, then\n"
    "unmounts.\n"
    "\n"
    "      --oneshot         leave it mounted and exit\n"
    "      --idmap           let the kernel shift owners as they are read: at once, without space; from Linux 6.13\n"
    "  -s, --shift SHIFT     the first id of the range (default: 0)\n"
    "  -r, --range RANGE     how many ids the range has (default: 0x10000)\n"
    "  -v, --verbose         print each file whose owner changes\n"
    "  -j, --threads NUMBER  how many threads to use (default: one for each processor, at most 8)\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0, 1 some files could not be shifted, 100 usage, 111 any other failure, 130 interrupted before\n"
    "the mount. Nothing is mounted unless it is 0.\n"
    "\n"
    "Examples:\n"
    "  shift-mount --oneshot /opt/alpine/ /opt/alpine-int/ /tmp/alpine-shifted/\n"
    "  shift-mount -s 0x30000 -r 0x10000 /opt/alpine /opt/alpine-int /srv/arena\n"
    "  umount /tmp/alpine-shifted\n";

struct Options {
  WalkOptions walk;
  bool oneshot = false;
  bool idmap = false;
  const char *lower = nullptr, *internal = nullptr, *mountpoint = nullptr;
};

Options parseOptions(int argc, char** argv) {
  static const option known[] = {
      {"oneshot", no_argument, nullptr, 'o'},     {"idmap", no_argument, nullptr, 'i'},
      {"shift", required_argument, nullptr, 's'}, {"range", required_argument, nullptr, 'r'},
      {"verbose", no_argument, nullptr, 'v'},     {"threads", required_argument, nullptr, 'j'},
      {"help", no_argument, nullptr, 'h'},        {"version", no_argument, nullptr, 'V'},
      {nullptr, 0, nullptr, 0},
  };
  Options options;
  options.walk.shift = {0, kDefaultRange};
  opterr = 0;
  int found;
  while ((found = getopt_long(argc, argv, ":s:r:vj:", known, nullptr)) != -1) {
    switch (found) {
      case 'o': options.oneshot = true; break;
      case 'i': options.idmap = true; break;
      case 's': options.walk.shift.base = parseNumber("--shift", optarg, 0, kMaxId); break;
      case 'r': options.walk.shift.range = parseNumber("--range", optarg, 1, kMaxId); break;
      case 'v': options.walk.verbose = true; break;
      case 'j': options.walk.threads = parseNumber("--threads", optarg, 1, kMaxThreads); break;
      case 'h': printAndExit(kHelp);
      case 'V': printAndExit("shift-mount " BERTHD_VERSION "\n");
      case ':': fail(kUsage, "option %s needs a value; see shift-mount --help", argv[optind - 1]);
      default: fail(kUsage, "there is no option %s; see shift-mount --help", printable(argv[optind - 1]).c_str());
    }
  }
  checkRange(options.walk.shift);
  if (argc - optind != 3) fail(kUsage, "give three directories: LOWER INT MOUNTPOINT; see shift-mount --help");
  options.lower = argv[optind];
  options.internal = argv[optind + 1];
  options.mountpoint = argv[optind + 2];
  return options;
}

// The path of a directory without links and dots.
std::string resolved(const char* path) {
  char* const real = realpath(path, nullptr);
  if (real == nullptr) fail(kSystem, "cannot find %s: %m; %s", printable(path).c_str(), remedy(errno));
  const std::string result = real;
  free(real);
  struct stat status;
  if (stat(result.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    fail(kSystem, "%s is not a directory; give the path of one", printable(path).c_str());
  }
  return result;
}

// Makes a directory. Returns false if it exists already.
bool make(const std::string& path, mode_t mode) {
  if (mkdir(path.c_str(), mode) == 0) return true;
  if (errno != EEXIST) fail(kSystem, "cannot make the directory %s: %m; %s", printable(path).c_str(), remedy(errno));
  return false;
}

// Whether a resolved path is the folder, or below it.
bool isWithin(const std::string& path, const std::string& folder) {
  const std::string prefix = folder == "/" ? folder : folder + "/";
  return path == folder || path.compare(0, prefix.size(), prefix) == 0;
}

// The overlay's root has the owner and mode of the upper directory, so these are copied from LOWER. A temporary name
// and a rename keep a killed run from leaving it half made.
void makeUpper(const std::string& upper, const std::string& lower) {
  struct stat status;
  if (stat(upper.c_str(), &status) == 0) return;
  const std::string temporary = upper + ".new";
  make(temporary, 0700);
  if (stat(lower.c_str(), &status) != 0 || chown(temporary.c_str(), status.st_uid, status.st_gid) != 0 ||
      chmod(temporary.c_str(), status.st_mode & 07777) != 0 || rename(temporary.c_str(), upper.c_str()) != 0) {
    fail(kSystem, "cannot make the directory %s: %m; %s", printable(upper).c_str(), remedy(errno));
  }
}

// Without trusted.* attributes an overlay copies data, and reports it only in the kernel's log.
void checkAttributes(const std::string& upper) {
  constexpr char kName[] = "trusted.berthd.probe";
  if (setxattr(upper.c_str(), kName, "", 0, 0) == 0 && removexattr(upper.c_str(), kName) == 0) return;
  fail(kSystem, "cannot store owners in %s: %m; run it as root, with INT on a filesystem that has trusted.* attributes, such as ext4",
       printable(upper).c_str());
}

// Tells the service manager, if there is one (sd_notify(3)).
void notify(const char* state) {
  if (const int error = notifyManager(state, 0)) {
    dprintf(STDERR_FILENO, "shift-mount: cannot notify %s: %s; the mount is not affected\n",
            printable(getenv("NOTIFY_SOCKET")).c_str(), strerror(error));
  }
}

// Shifts the owners below a directory, or ends the process. Returns the summary.
std::string shiftOwners(const Options& options, int directory, const char* name, const std::string& path, int signals) {
  UniqueFd root(openat(directory, name, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) fail(kSystem, "cannot open %s: %m; %s", printable(name).c_str(), remedy(errno));
  Walk walk(options.walk);
  const int signalled = run(walk, std::move(root), path, signals);
  const Counts counts = walk.counts();
  // An owner that was in the range already is shifted, too.
  Counts shown = counts;
  shown.shifted += shown.unchanged;
  shown.unchanged = 0;
  const std::string text = summary(shown, options.walk.shift, options.mountpoint, false);
  if (signalled != 0) {
    dprintf(STDERR_FILENO, "shift-mount: %s; stopped, nothing is mounted; run it again to continue\n", text.c_str());
    _exit(kSignalled + signalled);
  }
  if (counts.failed > 0) fail(kFailed, "%s; nothing is mounted, run it again to continue", text.c_str());
  return text;
}

UniqueFd overlayOf(const Options& options, const Layers& layers) {
  const UniqueFd userns = options.idmap ? userNamespace(options.walk.shift) : UniqueFd();
  if (options.idmap && !userns.valid()) {
    fail(kSystem, "cannot create a user namespace for --idmap: %s; run it as root, or without --idmap", strerror(-userns.get()));
  }
  MountProblem problem;
  UniqueFd mount = makeOverlay(layers, userns.get(), problem);
  if (mount.valid()) return mount;
  const char* const advice = problem.error == EBUSY    ? "another mount uses INT: unmount that one first"
                             : problem.error == ESTALE ? "INT belongs to another LOWER; give an empty directory"
                             : options.idmap           ? "run it without --idmap"
                                                       : remedy(problem.error);
  fail(kSystem, "cannot %s: %s; %s", printable(problem.doing).c_str(), printable(problem.reason).c_str(), advice);
}

// Waits for a signal, then unmounts.
void stay(int mount, const std::string& mountpoint, int signals) {
  notify("READY=1\nSTATUS=mounted");
  pollfd stop = {signals, POLLIN, 0};
  while (poll(&stop, 1, -1) < 0 && errno == EINTR) continue;
  notify("STOPPING=1");
  // EINVAL: it is unmounted already.
  if (int error = detach(mount); error != 0 && error != -EINVAL) {
    fail(kSystem, "cannot unmount %s: %s; run umount on it as root", printable(mountpoint).c_str(), strerror(-error));
  }
}

}  // namespace

int main(int argc, char** argv) {
  startProgram("shift-mount");
  const Options options = parseOptions(argc, argv);
  const std::string lower = resolved(options.lower);
  const bool isNew = make(trimmed(options.internal), 0700);
  const std::string internal = resolved(options.internal);
  if (isWithin(internal, lower) || isWithin(lower, internal)) {
    if (isNew) rmdir(internal.c_str());
    fail(kSystem, "INT %s and LOWER %s are one directory, or one is inside the other; give another INT",
         printable(internal).c_str(), printable(lower).c_str());
  }
  make(trimmed(options.mountpoint), 0755);
  const std::string mountpoint = resolved(options.mountpoint);

  // Held until the process ends: two runs must not use one upper directory.
  const UniqueFd lock(open(internal.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock.valid() || flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    fail(kSystem, "cannot lock %s: %m; %s", printable(internal).c_str(),
         errno == EWOULDBLOCK ? "another shift-mount uses it: stop that one first" : remedy(errno));
  }
  const Layers layers = {lower, internal + "/upper", internal + "/work"};
  makeUpper(layers.upper, lower);
  make(layers.work, 0700);
  checkAttributes(layers.upper);

  const UniqueFd signals = catchSignals();
  // With --idmap the kernel shifts the lower layer, so only earlier writes, in the upper one, are shifted here. Without
  // it every file is shifted, through the overlay.
  std::string result;
  if (options.idmap) result = shiftOwners(options, AT_FDCWD, layers.upper.c_str(), mountpoint, signals.get());
  const UniqueFd mount = overlayOf(options, layers);
  if (!options.idmap) result = shiftOwners(options, mount.get(), ".", mountpoint, signals.get());
  if (int error = attach(mount.get(), mountpoint.c_str())) {
    fail(kSystem, "cannot mount at %s: %s; %s", printable(mountpoint).c_str(), strerror(-error), remedy(-error));
  }
  dprintf(STDOUT_FILENO, "Mounted %s%s\n%s\n", printable(options.mountpoint).c_str(), options.idmap ? ", ids mapped" : "",
          result.c_str());
  if (!options.oneshot) stay(mount.get(), mountpoint, signals.get());
  return 0;
}
