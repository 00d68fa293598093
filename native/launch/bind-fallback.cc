// --keep-binds: the broker's stand-in. It holds a second descriptor of every bind filter, and of the record of the call
// that the broker is answering there, and does nothing as long as the broker lives. Once the broker is gone, it answers
// in its place: an internet address is not available, and everything else goes on as if there were no filter. Without it
// the kernel would say ENOSYS to all of it. It ends with the last process under a filter.
#include <errno.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/bind-call.h"
#include "launch.h"

namespace {

// Whether bind(2) asks for a port of the internet; port 0, which takes nothing from anybody, does not count.
bool asksForPort(const seccomp_notif& notification) {
  berthd::BindCall call;
  // What cannot be read is not handed back to the kernel, which might read something else there.
  if (berthd::ReadBindCall(notification, &call) != 0) return true;
  sockaddr_in inet = {};  // a sockaddr_in6 begins in the same way
  constexpr size_t kBeginning = sizeof inet.sin_family + sizeof inet.sin_port;
  if (call.length < static_cast<int>(kBeginning)) return false;
  if (!berthd::ReadMemory(static_cast<pid_t>(notification.pid), call.address, &inet, kBeginning)) return true;
  const bool isInet = inet.sin_family == AF_INET || inet.sin_family == AF_INET6 || inet.sin_family == AF_UNSPEC;
  return isInet && inet.sin_port != 0;
}

void answer(int notify, const seccomp_notif& call) {
  seccomp_notif_resp response = {};
  response.id = call.id;
  if (asksForPort(call)) response.error = -EADDRNOTAVAIL;
  else response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  ioctl(notify, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

void answerNext(int notify) {
  alignas(seccomp_notif) char bytes[512] = {};  // the kernel may know a larger one
  auto* const call = reinterpret_cast<seccomp_notif*>(bytes);
  if (ioctl(notify, SECCOMP_IOCTL_NOTIF_RECV, call) == 0) answer(notify, *call);
}

// The call that the broker had received and not answered, if there is one: the kernel reports none a second time.
void answerLast(int notify, int record) {
  seccomp_notif call;
  if (pread(record, &call, sizeof call, 0) != sizeof call) return;
  if (ioctl(notify, SECCOMP_IOCTL_NOTIF_ID_VALID, &call.id) == 0) answer(notify, call);
}

// Takes what the broker sends over, a filter and its record; false when the broker is gone.
bool receive(int channel, List<pollfd>& watched, List<int>& records) {
  char byte;
  iovec part = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t size = recvmsg(channel, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    int pair[2] = {-1, -1};  // an older broker sends no record
    memcpy(pair, CMSG_DATA(header), (count < 2 ? count : 2) * sizeof(int));
    watched.push({pair[0], 0, 0});
    records.push(pair[1]);
  }
  return size > 0;
}

// Has every call that waits end with EINTR once a second: one to receive, too, which waits for as long as it takes where
// the report it came for was taken back by a signal, or taken by somebody else.
void startTicking() {
  struct sigaction nothing = {};
  nothing.sa_handler = [](int) {};
  sigaction(SIGALRM, &nothing, nullptr);
  itimerval second = {{1, 0}, {1, 0}};
  setitimer(ITIMER_REAL, &second, nullptr);
}

}  // namespace

void keepBinds(int channel) {
  // Not with the terminal of whoever started the broker: it is there for what lives on.
  setsid();
  signal(SIGHUP, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  prctl(PR_SET_NAME, "berth-keep");
  if (chdir("/") != 0) fail(kSystem, "cannot enter /: %m");
  List<pollfd> watched;
  List<int> records;  // of the filter at the same index
  watched.push({channel, POLLIN, 0});
  records.push(-1);
  while (watched[0].fd >= 0 || watched.size() > 1) {
    // Also later: a thread of a broker that is closing may receive one after it was told to stop.
    if (watched[0].fd < 0)
      for (size_t i = 1; i < watched.size(); i++) answerLast(watched[i].fd, records[i]);
    if (poll(watched.data(), watched.size(), -1) < 0) {
      if (errno == EINTR) continue;
      fail(kSystem, "cannot wait for the broker: %m");
    }
    size_t kept = 1;
    for (size_t i = 1; i < watched.size(); i++) {
      if ((watched[i].revents & POLLIN) != 0) answerNext(watched[i].fd);
      else if (watched[i].revents != 0) {  // POLLHUP: no process has the filter any more
        close(watched[i].fd);
        close(records[i]);
        continue;
      }
      watched[kept] = watched[i];
      records[kept++] = records[i];
    }
    watched.shrink(kept);
    records.shrink(kept);
    if (watched[0].fd < 0 || watched[0].revents == 0 || receive(channel, watched, records)) continue;
    close(channel);
    watched[0] = {-1, 0, 0};
    for (size_t i = 1; i < watched.size(); i++) watched[i].events = POLLIN;
    startTicking();
  }
  exit(0);
}
