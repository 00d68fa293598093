// --trace-binds: runs a program under the bind filter, for `berth explain`. Without a broker and a plan: user, limits,
// directory and environment stay as they are. With --as the user is another one, without any capability, as in a berth.
#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "launch/launch.h"
#include "launch/plan.h"

namespace berthd {
namespace {

// Reads one id and moves on to what follows it. The highest number means "no change" to the kernel.
bool readId(const char*& text, uint32_t& id) {
  if (*text < '0' || *text > '9') return false;
  char* end = nullptr;
  errno = 0;
  const unsigned long number = strtoul(text, &end, 10);
  if (errno != 0 || number >= UINT32_MAX) return false;
  id = static_cast<uint32_t>(number);
  text = end;
  return true;
}

// UID:GID[,GROUP…]
bool readIds(const char* text, Plan& plan) {
  plan.hasUser = true;
  if (!readId(text, plan.uid) || *text++ != ':' || !readId(text, plan.gid)) return false;
  for (gid_t group = 0; *text != '\0'; plan.groups.push(group)) {
    if (*text++ != ',' || !readId(text, group)) return false;
  }
  return true;
}

void becomeUser(const char* ids, const char* const* command) {
  Plan plan;
  if (!readIds(ids, plan)) fail(kUsage, "--as %s is not UID:GID[,GROUP…]; write for example --as 1000:1000,27", ids);
  plan.inheritEnvironment = true;  // where the program is looked up
  for (const char* const* word = command; *word != nullptr; word++) plan.argv.push(*word);
  dropPrivilege(plan);
}

}  // namespace

void traceBinds(int channel, const char* ids, const char* const* command) {
  if (ids != nullptr) becomeUser(ids, command);
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
