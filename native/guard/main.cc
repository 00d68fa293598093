// berth-guard: the zygote. It starts with the broker, and forks a worker, or the keeper, for each request on
// descriptor 3. The broker kills or leaves behind a worker that gets stuck. The zygote itself never touches a foreign
// descriptor.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/rights.h"
#include "guard.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace berthd {
namespace {

constexpr int kChannel = 3;

// The worker keeps its channel and nothing else that was open here.
[[noreturn]] void becomeWorker(UniqueFd channel, int32_t role) {
  prctl(PR_SET_NAME, role == kKeeper ? "berth-guard-k" : "berth-guard-w");
  // What the keeper has, it closes itself.
  if (role != kKeeper) prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int end = channel.release();
  if (end != kChannel) {
    dup2(end, kChannel);  // never executes anything, so close-on-exec does not matter
    close(end);
  }
  syscall(SYS_close_range, kChannel + 1, ~0U, 0);
  if (role == kKeeper) serveKeeper(kChannel);
  else serveWorker(kChannel, role == kNetAdminWorker);
  _exit(0);
}

void reply(int32_t id, int32_t pid, const UniqueFd& pidfd) {
  int32_t words[2] = {id, pid};
  iovec part = {words, sizeof words};
  msghdr message = messageOf(part);
  ControlBuffer<> control;
  const int number = pidfd.get();
  if (pidfd.valid()) attachFds(message, control, &number, 1);
  retryOnEintr([&] { return sendmsg(kChannel, &message, MSG_NOSIGNAL); });
}

void forkWorker(int32_t id, int32_t role, UniqueFd channel) {
  const pid_t pid = fork();
  if (pid == 0) becomeWorker(static_cast<UniqueFd&&>(channel), role);
  if (pid < 0) return reply(id, -errno, UniqueFd());
  // It is not reaped before the next round, so the number is still its own.
  reply(id, pid, UniqueFd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))));
}

// A worker puts a socket at the number that a server has for it, and a server may have a higher limit than the broker.
void allowHighNumbers() {
  constexpr rlim_t kMost = 1024 * 1024;  // fs.nr_open, unless somebody has changed it
  rlimit limit = {kMost, kMost};
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int serve() {
  for (;;) {
    int32_t words[3] = {};
    iovec part = {words, sizeof words};
    msghdr message = messageOf(part);
    ControlBuffer<> control;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    const ssize_t size = retryOnEintr([&] { return recvmsg(kChannel, &message, MSG_CMSG_CLOEXEC); });
    if (size <= 0) return size == 0 ? 0 : 1;  // 0: the broker has ended
    while (waitpid(-1, nullptr, WNOHANG) > 0) continue;
    UniqueFd channel;
    takeFds(message, [&](UniqueFd fd) { channel = static_cast<UniqueFd&&>(fd); });
    if (size == sizeof words && words[0] == kFork && channel.valid()) {
      forkWorker(words[1], words[2], static_cast<UniqueFd&&>(channel));
    }
  }
}

}  // namespace
}  // namespace berthd

int main(int count, char** arguments) {
  if (count == 2 && strcmp(arguments[1], "--version") == 0) {
    puts("berth-guard " BERTHD_VERSION);
    return 0;
  }
  if (count != 1 || fcntl(3, F_GETFD) < 0) {
    fputs("berth-guard: berthd starts this program; it does nothing by itself\n", stderr);
    return 100;
  }
  prctl(PR_SET_DUMPABLE, 0);
  berthd::allowHighNumbers();
  if (!berthd::dropPrivilege()) {
    fprintf(stderr, "berth-guard: cannot drop capabilities: %m\n");
    return 111;
  }
  return berthd::serve();
}
