// --trace-binds: runs a program under the bind filter without a berth, for `berth explain`. There is no broker and no
// plan: user, limits, directory and environment stay as they are.
#include <errno.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "launch.h"

namespace {

// One byte with the notify descriptor; a stream carries none without a byte.
void send(int channel, int notify) {
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &notify, sizeof notify);
  ssize_t sent;
  do sent = sendmsg(channel, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent != 1) fail(kSystem, "cannot send the notify descriptor over fd %d: %m; pass a connected UNIX socket", channel);
}

}  // namespace

void traceBinds(int channel, const char* const* command) {
  // Without it only CAP_SYS_ADMIN may install a filter, and berths set it as well.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail(kSystem, "cannot set no_new_privs: %m");
  UniqueFd notify = reportBinds(static_cast<uint32_t>(getppid()));
  send(channel, notify.get());
  notify.reset();
  close(channel);
  execvp(command[0], const_cast<char* const*>(command));
  fail(kSystem, "cannot run %s: %m; check its name and that it may be executed", command[0]);
}
