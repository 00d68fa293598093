// --end-with: runs a program that ends when the process that started it ends, even by SIGKILL, with every process that
// it has started itself. Without a broker and a plan. `berth image import` runs casync(1) so, whose own casync-http
// would otherwise wait for its server for ever. The launcher stays beside the program, as nobody else could end all of
// them.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"

namespace berthd {

namespace {

void killChildren(pid_t program) {
  // Children of children that have ended are here as well: this process is their subreaper.
  FILE* const children = fopen("/proc/thread-self/children", "re");
  if (children == nullptr) {  // a kernel without CONFIG_PROC_CHILDREN
    kill(program, SIGKILL);
    return;
  }
  int pid;
  while (fscanf(children, "%d", &pid) == 1) kill(pid, SIGKILL);
  fclose(children);
}

// Kills until nothing is left; the status of the program, if it has not ended before.
int endAll(pid_t program, int status) {
  for (;;) {
    killChildren(program);
    int other;
    const pid_t ended = retryOnEintr([&] { return waitpid(-1, &other, 0); });
    if (ended < 0) return status;
    if (ended == program) status = other;
  }
}

[[noreturn]] void exitAs(int status) {
  if (!WIFSIGNALED(status)) _exit(WEXITSTATUS(status));
  signal(WTERMSIG(status), SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  raise(WTERMSIG(status));
  _exit(kSystem);
}

}  // namespace

void endWith(pid_t parent, const char* const* command) {
  sigset_t awaited, before;
  sigemptyset(&awaited);
  const int signals[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
  for (int number : signals) sigaddset(&awaited, number);
  sigprocmask(SIG_BLOCK, &awaited, &before);
  signal(SIGCHLD, SIG_DFL);
  if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
    fail(kSystem, "cannot ask for the parent-death signal: %m");
  }
  const pid_t self = getpid();
  const pid_t program = fork();
  if (program < 0) fail(kSystem, "cannot start a process: %m");
  if (program == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // if this launcher is killed itself
    if (getppid() != self) _exit(kSystem);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    execvp(command[0], const_cast<char* const*>(command));
    fail(kSystem, "cannot run %s: %m; check its name and that it may be executed", command[0]);
  }
  // The parent may have ended before it could be asked for.
  while (getppid() == parent) {
    if (sigwaitinfo(&awaited, nullptr) != SIGCHLD) break;
    int status;
    if (waitpid(program, &status, WNOHANG) == program) exitAs(endAll(program, status));
  }
  exitAs(endAll(program, SIGTERM));
}

}  // namespace berthd
