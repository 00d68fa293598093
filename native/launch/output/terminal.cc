// Whether the server could type into a terminal: TIOCSTI and TIOCLINUX put input into one (ioctl_tty(2)).
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "launch/launch.h"

namespace berthd {

bool canReachTerminal() {
  // The kernel lets a process type into its controlling terminal only, or into any with CAP_SYS_ADMIN. /dev/tty says
  // whether there is a controlling terminal.
  const UniqueFd terminal(open("/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (terminal.valid() || errno != ENXIO) return true;
  // In a session of its own, the server could make one of these its controlling terminal.
  return isatty(STDIN_FILENO) == 1 || isatty(STDOUT_FILENO) == 1 || isatty(STDERR_FILENO) == 1;
}

}  // namespace berthd
