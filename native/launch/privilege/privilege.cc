// Drops all ids, groups and capabilities that the plan does not keep, so that they cannot be regained. A step that
// fails ends the process.
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "launch/plan.h"

namespace berthd {
namespace {

bool keeps(const Plan& plan, unsigned capability) {
  return (plan.capabilities >> capability & 1) != 0;
}

struct Ids {
  uid_t uid[3];
  gid_t gid[3];

  Ids() {
    getresuid(&uid[0], &uid[1], &uid[2]);
    getresgid(&gid[0], &gid[1], &gid[2]);
  }
  bool anyIsRoot() const { return uid[0] == 0 || uid[1] == 0 || uid[2] == 0; }
  bool are(uid_t user, gid_t group) const {
    return uid[0] == user && uid[1] == user && uid[2] == user && gid[0] == group && gid[1] == group && gid[2] == group;
  }
};

// Whether the ids must change. Ends the process if it cannot become the plan's user.
bool mustChangeUser(const Plan& plan) {
  const Ids now;
  if (!plan.hasUser) {
    if (now.anyIsRoot()) {
      fail(kSystem,
           "the berth does not say as which user its server runs; set server.user = \"NAME\", or \"root\" if you mean it");
    }
    return false;
  }
  if (geteuid() == 0) return true;
  if (now.are(plan.uid, plan.gid)) return false;
  fail(kSystem,
       "cannot change to uid %u gid %u from uid %u gid %u; start berth-launch as root, or change server.user of the berth",
       plan.uid, plan.gid, now.uid[1], now.gid[1]);
}

bool hasEffective(unsigned capability) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) fail(kSystem, "cannot read the launcher's capabilities: %m");
  return (data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
}

// Without CAP_SETPCAP the bounding set cannot be changed. Then no_new_privs makes it harmless: so what a program with
// file capabilities needs to start may stay in it.
void dropBoundingSet(const Plan& plan) {
  if (!hasEffective(CAP_SETPCAP)) return;
  const uint64_t needed = plan.capabilities | fileCapabilities(plan);
  for (unsigned capability = 0;; capability++) {
    const int present = prctl(PR_CAPBSET_READ, capability, 0, 0, 0);
    if (present < 0 && errno == EINVAL) return;  // beyond the kernel's last one (capabilities(7))
    if (present < 0) fail(kSystem, "cannot read capability %u of the bounding set: %m", capability);
    if (present == 0 || (capability < 64 && (needed >> capability & 1) != 0)) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      fail(kSystem, "cannot drop capability %u from the bounding set: %m", capability);
    }
  }
}

void changeUser(const Plan& plan) {
  // Without it, a change from uid 0 clears the permitted set. execve(2) resets it.
  if (plan.capabilities != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) {
    fail(kSystem, "cannot keep capabilities across the change of user: %m; see the launcher's securebits");
  }
  if (!plan.keepGroups && setgroups(plan.groups.size(), plan.groups.data()) != 0) {
    fail(kSystem, "cannot set the %zu supplementary groups of uid %u: %m", plan.groups.size(), plan.uid);
  }
  if (setresgid(plan.gid, plan.gid, plan.gid) != 0) fail(kSystem, "cannot become gid %u: %m", plan.gid);
  if (setresuid(plan.uid, plan.uid, plan.uid) != 0) fail(kSystem, "cannot become uid %u: %m", plan.uid);
}

// Sets exactly the kept capabilities in all sets. Only the ambient set survives exec (capabilities(7)).
void setCapabilities(const Plan& plan) {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  for (unsigned half = 0; half < 2; half++) {
    const uint32_t kept = static_cast<uint32_t>(plan.capabilities >> 32 * half);
    data[half] = {kept, kept, kept};
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
    fail(kSystem, "cannot clear the ambient capabilities: %m");
  if (syscall(SYS_capset, &header, data) != 0) {
    fail(kSystem,
         "cannot set the server's capabilities: %m; the launcher must hold each one in server.capabilities itself");
  }
  for (unsigned capability = 0; capability < 64; capability++) {
    if (keeps(plan, capability) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0) != 0) {
      fail(kSystem, "cannot keep capability %u for the server: %m; remove it from server.capabilities", capability);
    }
  }
}

// Checks that the drop worked: root cannot be regained, unless the plan keeps the capability for it.
void verifyDrop(const Plan& plan) {
  if (plan.hasUser && !Ids().are(plan.uid, plan.gid)) {
    fail(kSystem, "the change to uid %u gid %u had no effect; the server was not started", plan.uid, plan.gid);
  }
  if (getuid() != 0 && !keeps(plan, CAP_SETUID) && setresuid(0, 0, 0) == 0) {
    fail(kSystem, "root could be regained after the change to uid %u; the server was not started", plan.uid);
  }
  if (getgid() != 0 && !keeps(plan, CAP_SETGID) && setresgid(0, 0, 0) == 0) {
    fail(kSystem, "group root could be regained after the change to gid %u; the server was not started", plan.gid);
  }
}

}  // namespace

void dropPrivilege(const Plan& plan) {
  const bool change = mustChangeUser(plan);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail(kSystem, "cannot set no_new_privs: %m");
  dropBoundingSet(plan);
  if (change) changeUser(plan);
  setCapabilities(plan);
  verifyDrop(plan);
}

}  // namespace berthd
