// Mounts the berth's root for a container manager (`berth-launch --contain`), in a new mount namespace of this process.
// No other process sees the mount, and it ends with the last process of the container.
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

// Removes the root from the command's descriptors. They are passed into the container, and a directory would lead out
// of it.
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
    fail(kSystem, "this berth's server enters its root by itself; remove server.enter, or run without --contain");
  }
  if (plan.reportBinds) {
    fail(kSystem, "--contain does not work with bind delivery; remove \"bind\" from server.deliver of the berth");
  }
  if (plan.noNamespaces) {
    fail(kSystem, "a container is made of namespaces; remove server.no-namespaces of the berth, or run without --contain");
  }
  UniqueFd root = takeRoot(plan, reply);
  if (!root.valid()) fail(kSystem, "the berth has no root for --contain; add a section [root], or run without --contain");
  if (unshare(CLONE_NEWNS) != 0) {
    fail(kSystem, "cannot make a mount namespace: %m; check its limit: sysctl user.max_mnt_namespaces");
  }
  // Mounts of this namespace are not seen outside. Later mounts of the outside are seen here.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    fail(kSystem, "cannot make the mount namespace a slave: %m");
  }
  if (moveMount(root.get(), directory) != 0) {
    fail(kSystem, "cannot mount the root at %s: %m; create that folder first", directory);
  }
}

}  // namespace berthd
