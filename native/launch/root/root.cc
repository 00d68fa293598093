// Enters the plan's root: joins its user namespace, and makes a mount namespace that contains only that root. Then it
// mounts /dev, /tmp, /run and the plan's mounts. The process keeps its pid. The mounts end with the last process of the
// namespace. Nothing of the host's file tree can be reached from it.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "common/mount-abi.h"
#include "launch/plan.h"

namespace berthd {
namespace {

// The nodes of /dev that give no access to the host: no console, no other user's terminal, no disk.
constexpr const char* kDevices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"};
constexpr size_t kDeviceCount = sizeof kDevices / sizeof kDevices[0];

struct Link {
  const char* path;
  const char* target;
};

constexpr Link kLinks[] = {
    {"/dev/fd", "/proc/self/fd"},
    {"/dev/stdin", "/proc/self/fd/0"},
    {"/dev/stdout", "/proc/self/fd/1"},
    {"/dev/stderr", "/proc/self/fd/2"},
};

struct Tmpfs {
  const char* target;
  unsigned long flags;
  const char* options;
};

// Each may use a tenth of the memory, as in systemd-nspawn. The server's memory limit applies as well.
constexpr Tmpfs kTmpfs[] = {
    {"/dev", MS_NOSUID, "mode=0755,size=64k,nr_inodes=64"},
    {"/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777,size=10%,nr_inodes=400k"},
    {"/tmp", MS_NOSUID | MS_NODEV, "mode=1777,size=10%,nr_inodes=400k"},
    {"/run", MS_NOSUID | MS_NODEV, "mode=0755,size=10%,nr_inodes=400k"},
};

// A descriptor of a directory would lead back out of the root.
void refuseDirectories(size_t count) {
  for (size_t fd = 0; fd < count; fd++) {
    struct stat status;
    if (fstat(static_cast<int>(fd), &status) != 0) fail(kSystem, "cannot examine fd %zu: %m", fd);
    if (S_ISDIR(status.st_mode)) {
      fail(kSystem, "fd %zu is a directory outside the berth's root; start berth-launch without it: %zu</dev/null", fd, fd);
    }
  }
}

// Becomes root of that namespace, to mount. dropPrivilege drops it later. The launcher's own ids are not valid there.
void joinUserNamespace(const Plan& plan, UniqueFd& userns) {
  if (setns(userns.get(), CLONE_NEWUSER) != 0) {
    fail(kSystem, "cannot join the user namespace of the berth's root: %m; start berth-launch as root, and not in a container "
                  "unless the broker is in it too");
  }
  userns.reset();
  if (!plan.keepGroups && setgroups(0, nullptr) != 0) fail(kSystem, "cannot leave the launcher's groups: %m");
  if (setresgid(0, 0, 0) != 0) fail(kSystem, "cannot become group root of the root's user namespace: %m");
  if (setresuid(0, 0, 0) != 0) fail(kSystem, "cannot become root of the root's user namespace: %m");
}

void leaveMountNamespace() {
  if (unshare(CLONE_NEWNS) != 0) {
    fail(kSystem, "cannot make a mount namespace: %m; check its limit: sysctl user.max_mnt_namespaces");
  }
  // From now on mounts of this namespace are not seen outside, nor those of the outside here.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    fail(kSystem, "cannot make the mount namespace private: %m");
  }
}

int copyTree(int directory, const char* path, unsigned flags) { return openTree(directory, path, kOpenTreeClone | flags); }

// Copies the host's device nodes: a node made in the namespace could not be opened (user_namespaces(7)).
void takeDevices(UniqueFd (&devices)[kDeviceCount]) {
  for (size_t i = 0; i < kDeviceCount; i++) {
    devices[i].reset(copyTree(AT_FDCWD, kDevices[i], 0));
    if (!devices[i].valid()) fail(kSystem, "cannot copy %s into the root: %m; mount /dev where berth-launch runs", kDevices[i]);
  }
}

// Copies a tree with all mounts below it: in a user namespace they cannot be left out (mount_namespaces(7)).
int takeBind(const PlanBind& bind) {
  UniqueFd tree(copyTree(AT_FDCWD, bind.source, kRecursive));
  if (!tree.valid()) fail(kSystem, "cannot copy %s for root.binds: %m; check that it exists, and that root.binds is right", bind.source);
  const MountAttributes attributes = {kMountNoSuid | kMountNoDev | (bind.readOnly ? kMountReadOnly : 0), 0, 0, 0};
  if (setMountAttributes(tree.get(), attributes, kRecursive) != 0) {
    fail(kSystem, "cannot restrict the mount of %s: %m; berthd needs Linux 5.12 for it", bind.source);
  }
  return tree.release();
}

// The path of the server's sd_notify(3) socket: the service manager's, or else the plan's (setNotify in exec.cc).
// nullptr if it has none, or an abstract one.
const char* notifySocket(const Plan& plan) {
  const char* const manager = serversManager(plan);
  const char* const address = manager != nullptr ? manager : plan.notify;
  return address != nullptr && address[0] == '/' ? address : nullptr;
}

// Copies the socket at `path`, nothing else: the path may come from the user's environment, and name a folder or a
// link.
int takeNotifySocket(const char* path) {
  static const char remedy[] = "start berth-launch without NOTIFY_SOCKET, or as a user who may reach it";
  UniqueFd socket(open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status;
  if (!socket.valid() || fstat(socket.get(), &status) != 0) {
    fail(kSystem, "cannot open the service manager's socket %s: %m; %s", path, remedy);
  }
  if (!S_ISSOCK(status.st_mode)) {
    fail(kSystem, "NOTIFY_SOCKET is %s, which is no socket; start berth-launch without NOTIFY_SOCKET: env -u NOTIFY_SOCKET",
         path);
  }
  UniqueFd tree(copyTree(socket.get(), "", AT_EMPTY_PATH));
  if (!tree.valid()) fail(kSystem, "cannot copy the service manager's socket %s into the root: %m; %s", path, remedy);
  if (setMountAttributes(tree.get(), {kMountNoSuid | kMountNoDev | kMountNoExec, 0, 0, 0}) != 0) {
    fail(kSystem, "cannot restrict the mount of %s: %m; berthd needs Linux 5.12 for it", path);
  }
  return tree.release();
}

// Copies the broker's mount, so that the next tenant can enter it as well. Before Linux 6.15 a detached mount cannot be
// copied: then the mount itself is entered, and no other process can enter it again.
void copyRoot(UniqueFd& root) {
  const int copy = copyTree(root.get(), "", AT_EMPTY_PATH);
  if (copy >= 0) root.reset(copy);
  else if (errno != EINVAL) fail(kSystem, "cannot copy the mount of the berth's root: %m");
}

void attach(int tree, const char* target, const char* what) {
  if (moveMount(tree, target, kMoveMountToSymlinks) != 0) {
    fail(kSystem, "cannot mount %s at %s of the root: %m", what, target);
  }
}

// pivot_root(".", ".") stacks the old root on the new one, where it is unmounted (pivot_root(2), NOTES).
void changeRoot(UniqueFd& root) {
  if (moveMount(root.get(), "/") != 0) {
    fail(kSystem, "cannot mount the berth's root: %m; %s", errno == EINVAL
             ? "before Linux 6.15 a root can be entered once: end the process that entered it first"
             : "see the broker's log");
  }
  if (fchdir(root.get()) != 0) fail(kSystem, "cannot enter the root: %m");
  if (syscall(SYS_pivot_root, ".", ".") != 0) {
    fail(kSystem, "cannot change to the berth's root: %m; start berth-launch outside any chroot or initramfs");
  }
  if (umount2(".", MNT_DETACH) != 0) fail(kSystem, "cannot leave the old root: %m");
  if (chdir("/") != 0) fail(kSystem, "cannot enter the root: %m");
  // Checks that the change worked: nothing else keeps the server inside.
  struct stat wanted, present;
  if (fstat(root.get(), &wanted) != 0 || stat("/", &present) != 0) fail(kSystem, "cannot examine the root: %m");
  if (wanted.st_dev != present.st_dev || wanted.st_ino != present.st_ino) {
    fail(kSystem, "the change of the root had no effect; the server was not started");
  }
  root.reset();
}

// Makes the missing parts of a mount point. Links are followed, and cannot lead out of the root.
void makeMountPoint(const char* target, bool isDirectory) {
  char path[PATH_MAX];
  const size_t length = strlen(target);
  if (length >= sizeof path) fail(kSystem, "cannot mount at %s: the path is longer than 4095 bytes; use a shorter one", target);
  for (size_t at = 1; at <= length; at++) {
    if (target[at] != '/' && target[at] != '\0') continue;
    memcpy(path, target, at);
    path[at] = '\0';
    if (access(path, F_OK) == 0) continue;
    int made;
    if (at < length || isDirectory) {
      made = mkdir(path, 0755);
    } else {
      UniqueFd file(open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
      made = file.valid() ? 0 : -1;
    }
    if (made != 0 && errno != EEXIST) {
      fail(kSystem, "cannot create %s in the root, to mount %s: %m; %s", path, target,
           errno == EROFS ? "the root is read-only, so create it in the image" : "create it in the image");
    }
  }
}

void mountTmpfs(const Tmpfs& tmpfs) {
  makeMountPoint(tmpfs.target, true);
  if (mount("tmpfs", tmpfs.target, "tmpfs", tmpfs.flags, tmpfs.options) != 0) {
    fail(kSystem, "cannot mount a tmpfs at %s of the root: %m", tmpfs.target);
  }
}

void fillDevices(UniqueFd (&devices)[kDeviceCount]) {
  for (size_t i = 0; i < kDeviceCount; i++) {
    makeMountPoint(kDevices[i], false);
    attach(devices[i].get(), kDevices[i], "the device");
    devices[i].reset();
  }
  for (const Link& link : kLinks) {
    if (symlink(link.target, link.path) != 0) fail(kSystem, "cannot make the link %s of the root: %m", link.path);
  }
}

void place(UniqueFd tree, const char* target) {
  struct stat status;
  if (fstat(tree.get(), &status) != 0) fail(kSystem, "cannot examine the mount for %s: %m", target);
  makeMountPoint(target, S_ISDIR(status.st_mode));
  attach(tree.get(), target, "the folder or file of the plan");
}

}  // namespace

void enterRoot(const Plan& plan, Reply& reply) {
  refuseDirectories(3 + plan.descriptors.size());
  joinUserNamespace(plan, reply.fds[plan.userns]);
  leaveMountNamespace();
  UniqueFd devices[kDeviceCount];
  takeDevices(devices);
  const char* const notify = notifySocket(plan);
  UniqueFd notifyTree(notify == nullptr ? -1 : takeNotifySocket(notify));
  List<int> binds;
  for (const PlanBind& bind : plan.binds) binds.push(takeBind(bind));
  copyRoot(reply.fds[plan.root]);
  changeRoot(reply.fds[plan.root]);
  // From here on every path is in the root. Without a umask, files get exactly the modes above.
  umask(0);
  for (const Tmpfs& tmpfs : kTmpfs) mountTmpfs(tmpfs);
  fillDevices(devices);
  for (const PlanMount& mount : plan.mounts) place(UniqueFd(reply.fds[mount.index].release()), mount.target);
  if (notify != nullptr) place(static_cast<UniqueFd&&>(notifyTree), notify);
  for (size_t i = 0; i < binds.size(); i++) place(UniqueFd(binds[i]), plan.binds[i].target);
}

}  // namespace berthd
