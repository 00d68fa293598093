// The owners of one file. chown(2) clears setuid and setgid bits and file capabilities, and this process can be killed
// before it restores them. So it stores them in an attribute of the file first, where the next run finds them.
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/xattr.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shift.h"

namespace berthd {
namespace {

// Only root can write trusted.* attributes (xattr(7)), so no other user can forge the stored capabilities.
constexpr char kJournal[] = "trusted.berthd.shift-own";
constexpr char kCapability[] = XATTR_NAME_CAPS;
constexpr char kAccessAcl[] = XATTR_NAME_POSIX_ACL_ACCESS;
constexpr char kDefaultAcl[] = XATTR_NAME_POSIX_ACL_DEFAULT;

// Some C libraries' headers lack these numbers, which are the same on all architectures.
constexpr long kFchmodat2 = 452;
constexpr long kListxattrat = 465;

// The calls for extended attributes refuse an O_PATH descriptor, but take its path in /proc.
struct SelfPath {
  explicit SelfPath(int fd) { snprintf(text, sizeof text, "/proc/self/fd/%d", fd); }
  char text[32];
};

int result(long returned) { return returned < 0 ? -errno : 0; }

int readAttribute(int fd, const char* name, std::vector<uint8_t>& value) {
  value.resize(XATTR_SIZE_MAX);
  const ssize_t length = getxattr(SelfPath(fd).text, name, value.data(), value.size());
  value.resize(length < 0 ? 0 : static_cast<size_t>(length));
  return length < 0 && errno != ENODATA ? -errno : 0;
}

int writeAttribute(int fd, const char* name, const std::vector<uint8_t>& value) {
  return result(setxattr(SelfPath(fd).text, name, value.data(), value.size(), 0));
}

int changeMode(int fd, mode_t mode) {
  const long returned = syscall(kFchmodat2, fd, "", mode, AT_EMPTY_PATH);
  return returned < 0 && errno == ENOSYS ? result(chmod(SelfPath(fd).text, mode)) : result(returned);
}

uint32_t load(const uint8_t* from) {
  uint32_t value;
  memcpy(&value, from, sizeof value);
  return le32toh(value);
}

void store(uint8_t* to, uint32_t value) {
  value = htole32(value);
  memcpy(to, &value, sizeof value);
}

// A file capability (capabilities(7), "File capability extensible attributes") is valid in the user namespace of its
// root id: 0 in version 2, a field in version 3. Returns false for any other version.
bool shiftCapability(const Shift& shift, std::vector<uint8_t>& value) {
  constexpr size_t kVersion2 = XATTR_CAPS_SZ_2, kVersion3 = XATTR_CAPS_SZ_3;
  if (value.size() != kVersion2 && value.size() != kVersion3) return false;
  const uint32_t flags = load(value.data()) & ~VFS_CAP_REVISION_MASK;
  const uint32_t root = shift.map(value.size() == kVersion3 ? load(&value[kVersion2]) : 0);
  value.resize(root == 0 ? kVersion2 : kVersion3);
  store(value.data(), flags | (root == 0 ? VFS_CAP_REVISION_2 : VFS_CAP_REVISION_3));
  if (root != 0) store(&value[kVersion2], root);
  return true;
}

}  // namespace

Owners::Owners(Shift shift, bool dryRun) : shift_(shift), dryRun_(dryRun), list_(XATTR_LIST_MAX) {}

// Reads the names of all attributes into list_, or returns -errno. Most files have few, and the kernel allocates as
// much as the caller's buffer has. So a small buffer is tried first.
ssize_t Owners::listAttributes(const File& file) {
  for (size_t size : {size_t{256}, list_.size()}) {
    ssize_t length = -1;
    errno = ENOSYS;
    // By its name, for speed. A user who replaces the name now harms only files that are his anyway.
    if (file.folder >= 0) length = syscall(kListxattrat, file.folder, file.name, AT_SYMLINK_NOFOLLOW, list_.data(), size);
    // EPERM is of a seccomp filter that is older than listxattrat(2), as that of systemd 252 (boot/state.test.ts).
    if (length < 0 && (errno == ENOSYS || errno == EPERM)) {
      if (file.fd >= 0) {
        length = listxattr(SelfPath(file.fd).text, list_.data(), size);
      } else {
        const std::string path = SelfPath(file.folder).text + std::string("/") + file.name;
        length = llistxattr(path.c_str(), list_.data(), size);
      }
    }
    if (length >= 0) return length;
    if (errno != ERANGE) break;
  }
  return errno == EOPNOTSUPP ? 0 : -errno;
}

int Owners::find(const File& file, Found& found) {
  const ssize_t length = listAttributes(file);
  if (length < 0) return static_cast<int>(length);
  for (const char *name = list_.data(), *end = name + length; name < end; name += strlen(name) + 1) {
    if (strcmp(name, kCapability) == 0) found.capability = true;
    if (strcmp(name, kAccessAcl) == 0) found.accessAcl = true;
    if (strcmp(name, kDefaultAcl) == 0) found.defaultAcl = true;
    if (strcmp(name, kJournal) == 0) found.journal = true;
  }
  return 0;
}

// ACL entries for named users and groups contain ids (acl(5)).
int Owners::shiftAcl(int fd, const char* name, bool& isChanged) {
  Bytes value;
  if (int error = readAttribute(fd, name, value)) return error;
  bool isDifferent = false;
  for (size_t at = sizeof(posix_acl_xattr_header); at + sizeof(posix_acl_xattr_entry) <= value.size();
       at += sizeof(posix_acl_xattr_entry)) {
    const uint32_t tag = load(&value[at]) & 0xffff;
    if (tag != ACL_USER && tag != ACL_GROUP) continue;
    uint8_t* const place = &value[at + offsetof(posix_acl_xattr_entry, e_id)];
    const uint32_t id = load(place);
    store(place, shift_.map(id));
    isDifferent = isDifferent || shift_.map(id) != id;
  }
  if (!isDifferent) return 0;
  isChanged = true;
  return dryRun_ ? 0 : writeAttribute(fd, name, value);
}

int Owners::chown(const File& file) {
  const uid_t uid = shift_.map(file.status.stx_uid);
  const gid_t gid = shift_.map(file.status.stx_gid);
  if (file.fd < 0) return result(fchownat(file.folder, file.name, uid, gid, AT_SYMLINK_NOFOLLOW));
  return result(fchownat(file.fd, "", uid, gid, AT_EMPTY_PATH));
}

// A file for which chown(2) would clear something: store it, change the owner, restore it, remove the stored copy.
bool Owners::shiftFragile(const File& file, const Found& found, bool& isChanged, Problem& problem) {
  const auto fails = [&](const char* doing, int error) {
    problem = {doing, error};
    return false;
  };
  const int fd = file.fd;
  uint32_t mode = file.status.stx_mode & 07777;
  Bytes before, note;
  if (found.capability) {
    if (int error = readAttribute(fd, kCapability, before)) return fails("read the capabilities of", error);
  }
  if (found.journal) {
    if (int error = readAttribute(fd, kJournal, note)) return fails("read what an earlier run stored on", error);
  }
  const bool isResumed = note.size() >= sizeof mode;
  if (isResumed) {
    mode = load(note.data());
    before.assign(note.begin() + sizeof mode, note.end());
  }
  Bytes after = before;
  if (!after.empty() && !shiftCapability(shift_, after)) return fails("keep the capabilities, of an unknown version, of", -EINVAL);
  if (!isChanged && !isResumed && after == before) return true;
  isChanged = true;
  if (dryRun_) return true;

  bool isNoted = isResumed;
  if (!isResumed) {
    note.resize(sizeof mode);
    store(note.data(), mode);
    note.insert(note.end(), before.begin(), before.end());
    const int error = writeAttribute(fd, kJournal, note);
    // Without privilege, or on a filesystem without such attributes, a kill before the restore loses the bits.
    if (error != 0 && error != -EPERM && error != -EOPNOTSUPP) return fails("store the mode and capabilities of", error);
    isNoted = error == 0;
  }
  const SelfPath path(fd);
  if (int error = chown(file)) {
    if (isNoted && !isResumed) removexattr(path.text, kJournal);
    return fails("change the owner of", error);
  }
  if (int error = changeMode(fd, mode)) return fails("restore the setuid or setgid bit of", error);
  if (!after.empty()) {
    if (int error = writeAttribute(fd, kCapability, after)) return fails("restore the capabilities of", error);
  }
  // Without CAP_FSETID the kernel clears the setgid bit and reports success.
  struct statx now;
  if (int error = result(statx(fd, "", AT_EMPTY_PATH, STATX_MODE, &now))) return fails("examine", error);
  if ((now.stx_mode & 07777) != mode) return fails("restore the setgid bit of", -EPERM);
  if (isNoted) {
    if (int error = result(removexattr(path.text, kJournal))) return fails("remove the stored mode and capabilities from", error);
  }
  return true;
}

Outcome Owners::shift(const File& file, Problem& problem) {
  const auto fails = [&](const char* doing, int error) {
    problem = {doing, error};
    return Outcome::kFailed;
  };
  const struct statx& status = file.status;
  bool isChanged = shift_.map(status.stx_uid) != status.stx_uid || shift_.map(status.stx_gid) != status.stx_gid;
  // Symbolic links have no mode, no ACL and no capability.
  if (!S_ISLNK(status.stx_mode)) {
    Found found;
    if (int error = find(file, found)) return fails("list the attributes of", error);
    const bool isSet = !S_ISDIR(status.stx_mode) && (status.stx_mode & (S_ISUID | S_ISGID)) != 0;
    const bool isFragile = isSet || found.capability || found.journal;
    if (file.fd < 0 && (isFragile || found.accessAcl || found.defaultAcl)) return Outcome::kNeedsDescriptor;
    if (found.accessAcl) {
      if (int error = shiftAcl(file.fd, kAccessAcl, isChanged)) return fails("shift the ACL of", error);
    }
    if (found.defaultAcl) {
      if (int error = shiftAcl(file.fd, kDefaultAcl, isChanged)) return fails("shift the default ACL of", error);
    }
    if (isFragile) {
      if (!shiftFragile(file, found, isChanged, problem)) return Outcome::kFailed;
      return isChanged ? Outcome::kShifted : Outcome::kUnchanged;
    }
  }
  if (!isChanged) return Outcome::kUnchanged;
  if (dryRun_) return Outcome::kShifted;
  if (int error = chown(file)) return fails("change the owner of", error);
  return Outcome::kShifted;
}

}  // namespace berthd
