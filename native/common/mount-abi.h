// The kernel's calls for mounts by descriptor. Each returns what the kernel does: a result, or -1 with errno.
// Why not <sys/mount.h> or <linux/mount.h>: old ones lack half of this, and the two conflict when both are included.
#pragma once
#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace berthd {

constexpr unsigned kOpenTreeClone = 1;  // OPEN_TREE_CLONE
constexpr unsigned kRecursive = 0x8000;  // AT_RECURSIVE
constexpr unsigned kMoveMountFromEmptyPath = 4;  // MOVE_MOUNT_F_EMPTY_PATH
constexpr unsigned kMoveMountToSymlinks = 0x10;  // MOVE_MOUNT_T_SYMLINKS
constexpr unsigned kFsCloexec = 1;  // FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC

// MOUNT_ATTR_…
constexpr uint64_t kMountReadOnly = 1, kMountNoSuid = 2, kMountNoDev = 4, kMountNoExec = 8, kMountIdmap = 0x100000;

// struct mount_attr (mount_setattr(2)).
struct MountAttributes {
  uint64_t set, clear, propagation, userns;
};

// FSCONFIG_…
enum FsConfig : unsigned { kSetFlag = 0, kSetString = 1, kSetFd = 5, kCreate = 6 };

inline int openTree(int directory, const char* path, unsigned flags) {
  return static_cast<int>(::syscall(SYS_open_tree, directory, path, flags | O_CLOEXEC));
}

// The mount `mount` itself; with kRecursive, what is mounted below it too.
inline int setMountAttributes(int mount, const MountAttributes& attributes, unsigned flags = 0) {
  return static_cast<int>(
      ::syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | flags, &attributes, sizeof attributes));
}

// The mount `mount` itself, to `target`.
inline int moveMount(int mount, const char* target, unsigned flags = 0) {
  return static_cast<int>(
      ::syscall(SYS_move_mount, mount, "", AT_FDCWD, target, kMoveMountFromEmptyPath | flags));
}

inline int openFileSystem(const char* type) { return static_cast<int>(::syscall(SYS_fsopen, type, kFsCloexec)); }

inline int configureFileSystem(int context, FsConfig command, const char* key, const char* value, int fd = 0) {
  return static_cast<int>(::syscall(SYS_fsconfig, context, command, key, value, fd));
}

inline int createFileSystem(int context) { return configureFileSystem(context, kCreate, nullptr, nullptr); }

inline int makeMount(int context, uint64_t attributes = 0) {
  return static_cast<int>(::syscall(SYS_fsmount, context, kFsCloexec, static_cast<unsigned>(attributes)));
}

}  // namespace berthd
