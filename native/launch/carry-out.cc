// Carries a plan out: signals, descriptors, limits, root, privilege, directory, exec. The order matters: a later step
// would make an earlier one impossible. The server can undo none of them. A step that fails ends the process.
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/notify.h"
#include "launch/output/console.h"
#include "plan.h"

namespace berthd {
namespace {

constexpr int kFirstFd = 3;  // SD_LISTEN_FDS_START

static_assert(sizeof(rlim_t) == 8, "limits are 64 bits wide");

// Node leaves SIGPIPE and SIGXFSZ ignored, and the signal mask is inherited too (hazard 19). A system call, because
// libc hides two real-time signals. A zeroed struct sigaction is SIG_DFL. SIGHUP stays ignored: that is nohup(1).
void resetSignals() {
  static const unsigned char byDefault[64] = {};
  struct sigaction hangup = {};
  const bool isNohup = sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler == SIG_IGN;
  for (int signal = 1; signal < NSIG; signal++) {
    if (signal == SIGHUP && isNohup) continue;
    if (syscall(SYS_rt_sigaction, signal, byDefault, nullptr, NSIG / 8) != 0 && signal != SIGKILL &&
        signal != SIGSTOP) {
      fail(kSystem, "cannot reset signal %d to its default: %m", signal);
    }
  }
  sigset_t none;
  sigemptyset(&none);
  if (sigprocmask(SIG_SETMASK, &none, nullptr) != 0) fail(kSystem, "cannot unblock all signals: %m");
}

// Moves a descriptor away from a number that another descriptor needs.
void makeRoom(List<int>& sources, size_t next, int place) {
  for (size_t i = next; i < sources.size(); i++) {
    if (sources[i] != place) continue;
    sources[i] = fcntl(place, F_DUPFD_CLOEXEC, kFirstFd + static_cast<int>(sources.size()));
    if (sources[i] < 0) fail(kSystem, "cannot move a descriptor to a free number: %m; raise the limit of open files: ulimit -n 4096");
  }
}

void closeRange(unsigned first, unsigned last) {
  if (first <= last && syscall(SYS_close_range, first, last, 0) != 0) {
    fail(kSystem, "cannot close the descriptors from %u up: %m; berthd needs Linux 5.9 or later", first);
  }
}

// Moves a descriptor that is needed until exec above the server's numbers.
void keepAbove(UniqueFd& fd, int above, List<int>& kept) {
  const int moved = fcntl(fd.get(), F_DUPFD_CLOEXEC, above);
  if (moved < 0) fail(kSystem, "cannot move a descriptor above the server's: %m; raise the limit of open files: ulimit -n 4096");
  fd.reset(moved);
  kept.push(moved);
}

// Puts the plan's descriptors at 3, 4, … with CLOEXEC clear, and after them those that the launcher was passed. Closes
// everything above them, except the connection to the broker and the descriptors of the root and of the console.
void placeDescriptors(const Plan& plan, Reply& reply, const Inherited& inherited, Conversation& broker,
                      Console& console) {
  List<int> sources;
  // Each index occurs once (decodePlan), so each descriptor is released once. The plan may leave out descriptors of the
  // reply: they are closed with the rest.
  for (const PlanDescriptor& descriptor : plan.descriptors) sources.push(reply.fds[descriptor.index].release());
  for (const int fd : inherited.fds) sources.push(fd);
  const int above = kFirstFd + static_cast<int>(sources.size());
  List<int> kept;
  keepReport(above, kept);
  if (plan.reportBinds) keepAbove(broker.fd, above, kept);
  if (console.valid()) {
    keepAbove(console.listener, above, kept);
    keepAbove(console.master, above, kept);
    keepAbove(console.slave, above, kept);
  }
  if (plan.hasRoot) {
    keepAbove(reply.fds[plan.userns], above, kept);
    keepAbove(reply.fds[plan.root], above, kept);
    for (const PlanMount& mount : plan.mounts) keepAbove(reply.fds[mount.index], above, kept);
  }
  for (size_t i = 0; i < sources.size(); i++) {
    const int place = kFirstFd + static_cast<int>(i);
    if (sources[i] == place) {
      if (fcntl(place, F_SETFD, 0) != 0) fail(kSystem, "cannot keep fd %d across exec: %m", place);
      continue;
    }
    makeRoom(sources, i + 1, place);
    if (dup3(sources[i], place, 0) < 0) {
      fail(kSystem, "cannot place descriptor %s at fd %d: %m; raise the limit of open files: ulimit -n 4096",
           i < plan.descriptors.size() ? plan.descriptors[i].name : "of the service manager", place);
    }
    // The old number is closed below, or overwritten by the descriptor whose place it is.
  }
  closeAllBut(kept, above);
}

struct Resource {
  const char* name;
  decltype(RLIMIT_NOFILE) number;
};

constexpr Resource kResources[] = {
    {"as", RLIMIT_AS},           {"core", RLIMIT_CORE},         {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},       {"fsize", RLIMIT_FSIZE},       {"locks", RLIMIT_LOCKS},
    {"memlock", RLIMIT_MEMLOCK}, {"msgqueue", RLIMIT_MSGQUEUE}, {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},   {"nproc", RLIMIT_NPROC},       {"rss", RLIMIT_RSS},
    {"rtprio", RLIMIT_RTPRIO},   {"rttime", RLIMIT_RTTIME},     {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK},
};

const Resource& findResource(const char* name) {
  for (const Resource& resource : kResources) {
    if (strcmp(resource.name, name) == 0) return resource;
  }
  fail(kSystem, "the plan limits \"%s\", which berth-launch does not know; install berthd and berth-launch of the same version",
       name);
}

rlim_t toRlim(uint64_t value) {
  return value == kUnlimited ? RLIM_INFINITY : static_cast<rlim_t>(value);
}

void setLimits(const Plan& plan) {
  for (const PlanLimit& limit : plan.limits) {
    const Resource& resource = findResource(limit.resource);
    rlimit wanted = {toRlim(limit.soft), toRlim(limit.hard)};
    if (limit.hard == kKeep) {
      rlimit present = {};
      if (getrlimit(resource.number, &present) != 0) fail(kSystem, "cannot read the limit %s: %m", resource.name);
      wanted.rlim_max = present.rlim_max;
      if (wanted.rlim_cur > wanted.rlim_max) wanted.rlim_cur = wanted.rlim_max;
    }
    if (setrlimit(resource.number, &wanted) != 0) {
      fail(kSystem, "cannot set the limit %s: %m; lower server.limits of the berth, or raise the launcher's own",
           resource.name);
    }
  }
}

// Called as the launcher, and as the server's user, so that the keyring is that user's. It must work once: the quota of
// keys of one of the two may be full (keyrings(7)).
void requireKeyring(bool hasOne) {
  if (leaveKeyring() || hasOne) return;
  fail(kSystem, "cannot leave the launcher's session keyring: %m; raise the quota: sysctl kernel.keys.maxkeys");
}

}  // namespace

void closeAllBut(List<int>& kept, int first) {
  const auto inOrder = [](const void* left, const void* right) {
    return *static_cast<const int*>(left) - *static_cast<const int*>(right);
  };
  // qsort(3) must not get the null pointer of an empty list.
  if (kept.size() > 0) qsort(kept.data(), kept.size(), sizeof(int), inOrder);
  for (const int fd : kept) {
    if (fd > first) closeRange(static_cast<unsigned>(first), static_cast<unsigned>(fd - 1));
    first = fd + 1;
  }
  closeRange(static_cast<unsigned>(first), ~0u);
}

void openStandardFds() {
  for (int fd = 0; fd < kFirstFd; fd++) {
    // Node sets CLOEXEC on these, too (hazard 18). Other flags are shared with other processes, so they stay.
    if (fcntl(fd, F_SETFD, 0) == 0) continue;
    const int opened = open("/dev/null", O_RDWR);
    if (opened != fd) fail(kSystem, "cannot open /dev/null for the closed fd %d: %m; mount /dev", fd);
  }
}

void carryOut(const Plan& plan, Reply& reply, Inherited& inherited, Conversation& broker, bool keepPrivilege) {
  resetSignals();
  // Before the root is entered, which has a /dev of its own. A server with CAP_SYS_ADMIN can type into any terminal.
  const bool canType = keepPrivilege || (plan.capabilities >> CAP_SYS_ADMIN & 1) != 0 || canReachTerminal();
  Console console;
  // A container manager gives its container a terminal itself.
  if (!keepPrivilege) openConsole(plan, reply, console);
  placeDescriptors(plan, reply, inherited, broker, console);
  // Before the root is entered: in its user namespace no limit can be raised.
  setLimits(plan);
  // Before the root is entered, where the manager cannot be reached: a unit with Type=notify must not wait for messages
  // that go to the broker.
  if (serversManager(plan) == nullptr) notifyManager("READY=1", MSG_DONTWAIT);
  const bool hasKeyring = leaveKeyring();
  if (plan.hasRoot) enterRoot(plan, reply);
  if (keepPrivilege) {
    requireKeyring(hasKeyring);
    restrictCalls(canType, false);
    execServer(plan, inherited);
  }
  umask(plan.umask);
  dropPrivilege(plan);
  requireKeyring(hasKeyring);
  // As the server's user, so that the directory's permissions count.
  if (plan.directory != nullptr && chdir(plan.directory) != 0) {
    fail(kSystem, "cannot enter the directory %s as uid %u: %m; create it for that user, or change server.directory",
         plan.directory, getuid());
  }
  if (console.valid()) startConsole(console);
  // The filters come last. They need no_new_privs, and the bind filter sees only the server's own binds.
  restrictCalls(canType, plan.noNamespaces);
  if (plan.reportBinds) {
    UniqueFd notify = reportBinds(plan.tracer);
    offerBinds(broker, plan.lease, notify.get());
  }
  execServer(plan, inherited);
}

}  // namespace berthd
