// --trace-binds: runs a program under the bind filter, for `berth explain`. Without a broker and a plan: user, limits,
// directory and environment stay as they are.
#include <sys/prctl.h>
#include <unistd.h>

#include "launch.h"

namespace berthd {

void traceBinds(int channel, const char* const* command) {
  // Without no_new_privs only CAP_SYS_ADMIN may install a filter. A launch with a plan sets it as well.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail(kSystem, "cannot set no_new_privs: %m");
  UniqueFd notify = reportBinds(static_cast<uint32_t>(getppid()));
  const int fd = notify.get();
  sendFds(channel, &fd, 1, "the notify descriptor");
  notify.reset();
  close(channel);
  execvp(command[0], const_cast<char* const*>(command));
  fail(kSystem, "cannot run %s: %m; check its name and that it may be executed", command[0]);
}

}  // namespace berthd
