// Puts the berth's root where a container manager finds it, for `berth-launch --contain`: in a mount namespace of this
// process, so that it is gone with the last process of the container and nobody else ever sees it.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "common/mount-abi.h"
#include "plan.h"

namespace berthd {
namespace {

constexpr char kRootName[] = "root";

// Takes the root out of what the command gets: its sockets are to be passed on into the container, and a directory
// descriptor would lead out of it.
UniqueFd takeRoot(Plan& plan, Reply& reply) {
  List<PlanDescriptor> others;
  UniqueFd root;
  for (const PlanDescriptor& descriptor : plan.descriptors) {
    if (strcmp(descriptor.name, kRootName) == 0) root.reset(reply.fds[descriptor.index].release());
    else others.push(descriptor);
  }
  plan.descriptors.shrink(0);
  for (const PlanDescriptor& descriptor : others) plan.descriptors.push(descriptor);
  return root;
}

}  // namespace

void containRoot(const char* directory, Plan& plan, Reply& reply) {
  if (plan.hasRoot) {
    fail(kSystem, "the server of this berth enters its root by itself; remove server.enter, or leave --contain out");
  }
  if (plan.reportBinds) {
    fail(kSystem, "a container manager's own binds would be reported; take \"bind\" out of server.deliver of the berth");
  }
  UniqueFd root = takeRoot(plan, reply);
  if (!root.valid()) fail(kSystem, "the berth has no root to contain; add a section [root], or leave --contain out");
  if (unshare(CLONE_NEWNS) != 0) {
    fail(kSystem, "cannot make a mount namespace: %m; see user.max_mnt_namespaces (sysctl)");
  }
  // Nothing that is mounted here shows outside; what is mounted outside still shows here.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    fail(kSystem, "cannot cut the mount namespace off: %m");
  }
  if (moveMount(root.get(), directory) != 0) {
    fail(kSystem, "cannot mount the root at %s: %m; make that folder first", directory);
  }
}

}  // namespace berthd
