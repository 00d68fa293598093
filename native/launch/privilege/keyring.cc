// The session keyring (keyrings(7)). The launcher's session may keep tickets and passwords there: the server must not
// have them.
#include <errno.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>

#include "launch/launch.h"

namespace berthd {

bool leaveKeyring() {
  // An anonymous keyring, with nothing in it; not even the user's keyring.
  if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, nullptr) >= 0) return true;
  if (errno == ENOSYS) return true;
  const int error = errno;
  // Many containers forbid keyctl(2) altogether, and so to the server, too.
  const bool isForbidden = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) < 0 && errno == error;
  errno = error;
  return isForbidden && (error == EPERM || error == EACCES);
}

}  // namespace berthd
