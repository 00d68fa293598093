// --keep-binds: the bind fallback. It holds a second descriptor of every bind filter, and of the record of the call
// that the broker is answering there. While the broker lives it does nothing. Once the broker is gone it answers: a
// bind to an internet port fails with EADDRNOTAVAIL, and every other bind goes on as without a filter. Without the
// fallback the kernel would answer ENOSYS to all of them. It ends with the last process under a filter.
#include <errno.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/bind-call.h"
#include "launch/launch.h"

namespace berthd {
namespace {

// Whether bind(2) asks for a port of the internet; port 0, which takes nothing from anybody, does not count.
bool asksForPort(const seccomp_notif& notification, MemoryReader& memory) {
  BindCall call;
  // What cannot be read is not handed back to the kernel, which might read something else there.
  if (readBindCall(notification, memory, &call) != 0) return true;
  sockaddr_in inet = {};  // a sockaddr_in6 begins in the same way
  constexpr size_t kBeginning = sizeof inet.sin_family + sizeof inet.sin_port;
  if (call.length < static_cast<int>(kBeginning)) return false;
  if (memory.read(static_cast<pid_t>(notification.pid), call.address, &inet, kBeginning) != 0) return true;
  const bool isInet = inet.sin_family == AF_INET || inet.sin_family == AF_INET6 || inet.sin_family == AF_UNSPEC;
  return isInet && inet.sin_port != 0;
}

// What the broker sends for one server.
struct Filter {
  UniqueFd notify;
  UniqueFd record;
  MemoryReader memory;
};

void answer(Filter& filter, const seccomp_notif& call) {
  seccomp_notif_resp response = {};
  response.id = call.id;
  if (asksForPort(call, filter.memory)) response.error = -EADDRNOTAVAIL;
  else response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  filter.memory.rest();
  ioctl(filter.notify.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
}

void answerNext(Filter& filter) {
  alignas(seccomp_notif) char bytes[512] = {};  // the kernel may know a larger one
  auto* const call = reinterpret_cast<seccomp_notif*>(bytes);
  if (ioctl(filter.notify.get(), SECCOMP_IOCTL_NOTIF_RECV, call) == 0) answer(filter, *call);
}

// The call that the broker had received and not answered, if there is one: the kernel reports none a second time.
void answerLast(Filter& filter) {
  seccomp_notif call;
  if (pread(filter.record.get(), &call, sizeof call, 0) != sizeof call) return;
  if (ioctl(filter.notify.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &call.id) == 0) answer(filter, call);
}

// Takes one filter and its record from the broker; false when the broker is gone.
bool receive(int channel, List<Filter>& filters) {
  char byte;
  iovec part = {&byte, 1};
  msghdr message = messageOf(part);
  ControlBuffer<> room;
  const ssize_t size = receiveMessage(channel, message, room);
  if (size < 0) return errno == EAGAIN;
  Filter filter;  // an older broker sends no record
  const bool isComplete = takeFds(message, [&filter](UniqueFd fd) {
    if (!filter.notify.valid()) filter.notify = static_cast<UniqueFd&&>(fd);
    else if (!filter.record.valid()) filter.record = static_cast<UniqueFd&&>(fd);
    // What is left is not ours: it closes here.
  });
  if (!isComplete) {
    dprintf(STDERR_FILENO,
            "berth-launch: the bind fallback could not receive a filter: it has too many open files; once the broker "
            "has stopped, a bind of that server fails with ENOSYS; raise LimitNOFILE= of the broker and restart it\n");
  } else if (filter.notify.valid()) {
    filters.push(static_cast<Filter&&>(filter));
  }
  return size > 0;
}

// Interrupts every waiting system call once a second. SECCOMP_IOCTL_NOTIF_RECV needs it: it waits for another call if a
// signal ended the reported one, or another process received it.
void startTicking() {
  struct sigaction nothing = {};
  nothing.sa_handler = [](int) {};
  sigaction(SIGALRM, &nothing, nullptr);
  itimerval second = {{1, 0}, {1, 0}};
  setitimer(ITIMER_REAL, &second, nullptr);
}

// Answers what is reported, and closes the filters that no process has any more. `ready` has one entry for each filter.
void serve(List<Filter>& filters, const List<pollfd>& ready) {
  size_t kept = 0;
  for (size_t i = 0; i < filters.size(); i++) {
    if ((ready[i].revents & ~POLLIN) != 0) continue;  // POLLHUP: no process has it
    if (ready[i].revents != 0) answerNext(filters[i]);
    if (kept != i) filters[kept] = static_cast<Filter&&>(filters[i]);
    kept++;
  }
  filters.shrink(kept);
}

}  // namespace

void keepBinds(int inherited) {
  UniqueFd channel(inherited);
  // It outlives the broker, so it leaves the terminal that the broker was started from.
  setsid();
  signal(SIGHUP, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  prctl(PR_SET_NAME, "berth-keep");
  if (chdir("/") != 0) fail(kSystem, "cannot enter /: %m");
  List<Filter> filters;
  List<pollfd> watched;
  while (channel.valid() || filters.size() > 0) {
    const bool isBrokerGone = !channel.valid();
    // In each round: a thread of a closing broker may receive a call after it was told to stop.
    if (isBrokerGone)
      for (size_t i = 0; i < filters.size(); i++) answerLast(filters[i]);
    watched.shrink(0);
    for (const Filter& filter : filters) {
      watched.push({filter.notify.get(), static_cast<short>(isBrokerGone ? POLLIN : 0), 0});
    }
    watched.push({channel.get(), POLLIN, 0});
    if (poll(watched.data(), watched.size(), -1) < 0) {
      if (errno == EINTR) continue;
      fail(kSystem, "cannot wait for the broker: %m");
    }
    serve(filters, watched);
    if (isBrokerGone || watched[watched.size() - 1].revents == 0 || receive(channel.get(), filters)) continue;
    channel.reset();
    startTicking();
  }
  exit(0);
}

}  // namespace berthd
