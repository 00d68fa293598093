// --make-root: makes an overlay for a broker without root. It mounts the given layers in a new user namespace that maps
// only this user. Then it sends the namespace and the mount over a socket, and ends; their descriptors keep both alive.
// It attaches nothing outside its own mount namespace, and reads no file.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/mount-abi.h"
#include "launch/launch.h"

namespace berthd {
namespace {

// The overlay's folders for changes, opened in this process's mount namespace.
struct Folders {
  UniqueFd upper;
  UniqueFd work;
};

// A tmpfs for changes. Absent limits are the kernel's defaults.
struct Memory {
  bool wanted = false;
  const char* size = nullptr;
  const char* inodes = nullptr;
};

struct Layers {
  List<int> lowers;  // from the top down
  Folders changes;
  Memory memory;
  uint64_t attributes = 0;
};

// Opens a layer in the overlay's mount namespace: the kernel refuses layers of another one.
int openLayer(const char* path) {
  const int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail(kSystem, "cannot open the folder %s: %m", path);
  return fd;
}

void parseLayers(const char* const* words, Layers& layers) {
  for (; *words != nullptr; words++) {
    const char* const word = *words;
    if (strncmp(word, "lower=", 6) == 0) layers.lowers.push(openLayer(word + 6));
    else if (strncmp(word, "upper=", 6) == 0) layers.changes.upper.reset(openLayer(word + 6));
    else if (strncmp(word, "work=", 5) == 0) layers.changes.work.reset(openLayer(word + 5));
    else if (strcmp(word, "tmpfs") == 0) layers.memory.wanted = true;
    else if (strncmp(word, "tmpfs-size=", 11) == 0) layers.memory.size = word + 11;
    else if (strncmp(word, "tmpfs-nr_inodes=", 16) == 0) layers.memory.inodes = word + 16;
    else if (strcmp(word, "read-only") == 0) layers.attributes |= kMountReadOnly;
    else if (strcmp(word, "nosuid") == 0) layers.attributes |= kMountNoSuid;
    else if (strcmp(word, "nodev") == 0) layers.attributes |= kMountNoDev;
    else fail(kUsage, "--make-root does not take \"%s\"; only berthd uses it: install berthd and berth-launch of the same version", word);
  }
  const bool writes = layers.changes.upper.valid() && layers.changes.work.valid();
  if (layers.lowers.size() == 0 || writes == layers.memory.wanted) {
    fail(kUsage, "--make-root needs lower=, and either tmpfs or upper= and work=; see docs/roots.md");
  }
}

void writeFile(const char* path, const char* text) {
  UniqueFd file(open(path, O_WRONLY | O_CLOEXEC));
  if (!file.valid() || write(file.get(), text, strlen(text)) < 0) fail(kSystem, "cannot write %s: %m", path);
}

// Inside, this user is root, and no other id is mapped.
void enterNamespaces() {
  char uids[32], gids[32];
  snprintf(uids, sizeof uids, "0 %u 1", geteuid());
  snprintf(gids, sizeof gids, "0 %u 1", getegid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) fail(kSystem, "cannot make a user namespace: %m");
  writeFile("/proc/self/setgroups", "deny");
  writeFile("/proc/self/uid_map", uids);
  writeFile("/proc/self/gid_map", gids);
}

// Ends the process with errno and the kernel's own message if there is one (fsopen(2)): "e overlay: …".
[[noreturn]] void failMount(const char* doing, int context) {
  const int error = errno;
  char words[512];
  const ssize_t length = read(context, words, sizeof words - 1);
  words[length > 0 ? length : 0] = '\0';
  for (char* at = words; *at != '\0'; at++) {
    if (*at == '\n') *at = ' ';
  }
  fail(kSystem, "cannot %s: %s%s%s", doing, strerror(error), length > 2 ? ": " : "", length > 2 ? words + 2 : "");
}

bool set(int context, const char* key, const char* value) {
  return configureFileSystem(context, value == nullptr ? kSetFlag : kSetString, key, value) == 0;
}

int openContext(const char* type) {
  const int context = openFileSystem(type);
  if (context < 0) fail(kSystem, "cannot make a file system of type %s: %m; berthd needs Linux 5.11 for roots", type);
  return context;
}

int finish(int context, const char* doing, uint64_t attributes) {
  if (createFileSystem(context) != 0) failMount(doing, context);
  const int mount = makeMount(context, attributes);
  if (mount < 0) failMount(doing, context);
  return mount;
}

// Makes the folders in a tmpfs. The mode of the upper one becomes the mode of the overlay's root. The tmpfs is attached
// in this namespace: before Linux 6.15 the layers of an overlay must be.
void makeMemory(const Memory& memory, mode_t mode, Folders& folders) {
  UniqueFd context(openContext("tmpfs"));
  if (memory.size != nullptr && !set(context.get(), "size", memory.size)) failMount("set the size of a tmpfs", context.get());
  if (memory.inodes != nullptr && !set(context.get(), "nr_inodes", memory.inodes)) failMount("set the files of a tmpfs", context.get());
  if (!set(context.get(), "mode", "0700")) failMount("set the mode of a tmpfs", context.get());
  UniqueFd mount(finish(context.get(), "make a tmpfs", kMountNoSuid | kMountNoDev));
  if (moveMount(mount.get(), "/") != 0) {
    fail(kSystem, "cannot mount a tmpfs in the user namespace: %m");
  }
  umask(0);
  if (mkdirat(mount.get(), "upper", mode) != 0 || mkdirat(mount.get(), "work", 0700) != 0) {
    fail(kSystem, "cannot make folders in a tmpfs: %m");
  }
  folders.upper.reset(openat(mount.get(), "upper", O_PATH | O_DIRECTORY | O_CLOEXEC));
  folders.work.reset(openat(mount.get(), "work", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folders.upper.valid() || !folders.work.valid()) fail(kSystem, "cannot open folders in a tmpfs: %m");
}

struct LayerPath {
  char text[32];
  explicit LayerPath(int fd) { snprintf(text, sizeof text, "/proc/self/fd/%d", fd); }
};

// One by one since Linux 6.5. Before, all in one value, which fsconfig(2) limits to 255 bytes.
void setLowers(int context, const List<int>& lowers) {
  bool single = true;
  for (size_t i = 0; i < lowers.size() && single; i++) {
    single = set(context, "lowerdir+", LayerPath(lowers[i]).text);
    if (!single && i > 0) failMount("use a layer", context);
  }
  if (single) return;
  Text all;
  for (const int lower : lowers) {
    if (all.size() > 0) all.append(":");
    all.append(LayerPath(lower).text);
  }
  if (all.size() > 255) fail(kSystem, "this kernel takes at most 13 images for a root without privilege; use fewer, or Linux 6.5");
  if (!set(context, "lowerdir", all.string())) failMount("use the layers", context);
}

int makeOverlay(Layers& layers) {
  struct stat image;
  if (fstat(layers.lowers[0], &image) != 0) fail(kSystem, "cannot examine the image: %m");
  const bool readOnly = (layers.attributes & kMountReadOnly) != 0;
  if (layers.memory.wanted) makeMemory(layers.memory, image.st_mode & 07777, layers.changes);
  // An overlay needs two layers, so the empty upper folder becomes the lowest.
  if (readOnly) layers.lowers.push(layers.changes.upper.release());
  UniqueFd context(openContext("overlay"));
  // userxattr: the overlay uses user.* attributes, because only root can write trusted.* (Linux 5.11). index=off: with
  // an index, a changed image could not be used.
  if (!set(context.get(), "userxattr", nullptr)) failMount("mount an overlay without privilege", context.get());
  if (!set(context.get(), "index", "off")) failMount("mount an overlay without index", context.get());
  setLowers(context.get(), layers.lowers);
  if (!readOnly && (!set(context.get(), "upperdir", LayerPath(layers.changes.upper.get()).text) ||
                    !set(context.get(), "workdir", LayerPath(layers.changes.work.get()).text))) {
    failMount("use the folders for changes", context.get());
  }
  return finish(context.get(), "mount the layers", layers.attributes);
}

}  // namespace

void makeRoot(int channel, const char* const* words) {
  enterNamespaces();
  Layers layers;
  parseLayers(words, layers);
  UniqueFd userns(open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC));
  if (!userns.valid()) fail(kSystem, "cannot open the user namespace: %m; mount /proc");
  UniqueFd mount(makeOverlay(layers));
  const int both[] = {userns.get(), mount.get()};
  sendFds(channel, both, 2, "the root");
  _exit(0);
}

}  // namespace berthd
