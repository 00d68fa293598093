// Mounts the berth's root for a container manager (`berth-launch --contain`), in a new mount namespace of this process.
// No other process sees the mount, and it ends with the last process of the container.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include "common/mount-abi.h"
#include "launch/plan.h"

namespace berthd {
namespace {

constexpr char kRootName[] = "root";

bool isNamed(const PlanDescriptor& descriptor, const char* name) { return strcmp(descriptor.name, name) == 0; }

// Removes the root from the command's descriptors. They are passed into the container, and a directory would lead out
// of it.
UniqueFd takeRoot(Plan& plan, Reply& reply) {
  List<PlanDescriptor> others;
  UniqueFd root;
  for (const PlanDescriptor& descriptor : plan.descriptors) {
    if (isNamed(descriptor, kRootName) || isNamed(descriptor, kRootToMount)) root.reset(reply.fds[descriptor.index].release());
    else others.push(descriptor);
  }
  plan.descriptors.shrink(0);
  for (const PlanDescriptor& descriptor : others) plan.descriptors.push(descriptor);
  return root;
}

}  // namespace

void dropRootToMount(Plan& plan) {
  List<PlanDescriptor> others;
  for (const PlanDescriptor& descriptor : plan.descriptors) {
    if (!isNamed(descriptor, kRootToMount)) others.push(descriptor);
  }
  plan.descriptors.shrink(0);
  for (const PlanDescriptor& descriptor : others) plan.descriptors.push(descriptor);
}

void containRoot(const char* directory, Binds binds, Plan& plan, Reply& reply) {
  if (plan.hasRoot) {
    fail(kSystem, "this berth's server enters its root by itself; remove server.enter, or run without --contain");
  }
  if (plan.reportBinds && binds == Binds::kByLauncher) {
    fail(kSystem, "--contain does not work with bind delivery; remove \"bind\" from server.deliver of the berth, or add "
         "--agent for a runtime with the profile of berth oci spec");
  }
  plan.reportBinds = false;
  // With NOTIFY_SOCKET runc waits until the container has sent READY=1, even when that has ended.
  if (binds == Binds::kByRuntime) plan.notify = nullptr;
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
