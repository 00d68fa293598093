// Makes a server's console: its terminal, the session it controls, and the keeper beside the server.
#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>

#include "launch/plan.h"

namespace berthd {
namespace {

// Readers of any size may come later: until then it is what programs expect.
constexpr winsize kSize = {24, 80, 0, 0};

void setTerminal(int slave) {
  termios settings;
  if (tcgetattr(slave, &settings) != 0) fail(kSystem, "cannot read the settings of the console's terminal: %m");
  // Ctrl-S of one reader would stop the output for the log and for all others.
  settings.c_iflag &= ~static_cast<tcflag_t>(IXON);
  settings.c_iflag |= IUTF8;
  if (tcsetattr(slave, TCSANOW, &settings) != 0 || ioctl(slave, TIOCSWINSZ, &kSize) != 0) {
    fail(kSystem, "cannot set up the console's terminal: %m");
  }
}

// A shell with job control makes each job a process group, whose leader cannot begin a session (setsid(2)). So this
// process joins the group of a child for a moment. False if other processes are in the job, as in a pipeline.
bool leaveJob() {
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) {
    for (;;) pause();
  }
  const bool left = setpgid(child, child) == 0 && setpgid(0, child) == 0 && setsid() >= 0;
  kill(child, SIGKILL);
  retryOnEintr([&] { return waitpid(child, nullptr, 0); });
  return left;
}

void controlTerminal(int slave) {
  const bool leads = getsid(0) == getpid() || setsid() >= 0 || leaveJob();
  if (leads && ioctl(slave, TIOCSCTTY, 0) == 0) return;
  // The console works all the same. Only Ctrl-C, typed on it, reaches nobody.
  warn("the server cannot get a session of its own, so its console has no Ctrl-C: %s",
       leads ? strerror(errno) : "the launcher is in a pipeline with others; start it without one");
}

// The server has the same user: it must not look into the keeper. No signal but SIGKILL ends it: a service manager
// sends its signals to all processes of a unit, and the server's last words are still to come. False with errno if it
// fails.
bool standApart() {
  sigset_t all;
  sigfillset(&all);
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  return sigprocmask(SIG_SETMASK, &all, nullptr) == 0 && prctl(PR_SET_NAME, "berth-console") == 0 &&
         prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 && syscall(SYS_capset, &header, data) == 0 &&
         prctl(PR_SET_DUMPABLE, 0) == 0;
}

void startKeeper(Console& console) {
  UniqueFd server(static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0)));
  if (!server.valid()) fail(kSystem, "cannot watch the server's process for its console: %m");
  const pid_t child = fork();
  // The keeper is a child's child: its end is no SIGCHLD for the server.
  if (child == 0) {
    setsid();
    // The keeper inherits it: so there is no moment in which it can be looked into.
    if (!standApart()) _exit(errno);
    const pid_t keeper = fork();
    if (keeper == 0) keepConsole(console, server);
    _exit(keeper < 0 ? errno : 0);
  }
  int status = 0;
  if (child > 0) retryOnEintr([&] { return waitpid(child, &status, 0); });
  if (child > 0 && status == 0) return;
  fail(kSystem, "cannot start the console's keeper: %s; raise server.limits nproc, or TasksMax= of the unit",
       strerror(child < 0 ? errno : WEXITSTATUS(status)));
}

}  // namespace

void openConsole(const Plan& plan, Reply& reply, Console& console) {
  if (plan.console == 0 || isatty(STDIN_FILENO) == 1) return;
  console.listener = static_cast<UniqueFd&&>(reply.fds[plan.console]);
  // Before the root is entered, whose /dev has no terminals. Non-blocking: nobody but the keeper has this end.
  console.master.reset(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!console.valid()) fail(kSystem, "cannot make a terminal: /dev/ptmx: %m; mount /dev/pts, or remove server.console");
  const int unlocked = 0;
  if (ioctl(console.master.get(), TIOCSPTLCK, &unlocked) == 0) {
    console.slave.reset(ioctl(console.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  }
  if (!console.slave.valid()) fail(kSystem, "cannot open the console's terminal: %m");
  setTerminal(console.slave.get());
  // A server may open its terminal by path. In a root there is none.
  const bool isGiven = plan.hasUser && !plan.hasRoot && geteuid() == 0;
  if (isGiven && fchown(console.slave.get(), plan.uid, static_cast<gid_t>(-1)) != 0) {
    fail(kSystem, "cannot give the console's terminal to uid %u: %m", plan.uid);
  }
}

void startConsole(Console& console) {
  startKeeper(console);
  controlTerminal(console.slave.get());
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
    if (dup2(console.slave.get(), fd) < 0) fail(kSystem, "cannot make the console fd %d: %m", fd);
  }
  console.slave.reset();
  console.master.reset();
  console.listener.reset();
}

}  // namespace berthd
