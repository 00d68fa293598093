// File names and remedies for messages. No byte of a file name can control the terminal.
#include <errno.h>
#include <stdio.h>

#include "common/printable.h"
#include "shift.h"

namespace berthd {
namespace {

// The length of the UTF-8 character at `at` if it is printable, else 0.
size_t printing(const std::string& text, size_t at) {
  uint32_t point = 0;
  const size_t length = decodeUtf8(text.data() + at, text.size() - at, &point);
  return isPrintable(point) && point != '\\' ? length : 0;
}

}  // namespace

std::string printable(const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    if (const size_t length = printing(text, at)) {
      out.append(text, at, length);
      at += length;
      continue;
    }
    const auto byte = static_cast<uint8_t>(text[at++]);
    if (byte == '\\') out += "\\\\";
    else if (byte == '\n') out += "\\n";
    else if (byte == '\t') out += "\\t";
    else {
      char escaped[8];
      snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      out += escaped;
    }
  }
  return out;
}

const char* remedy(int error) {
  switch (error) {
    case EPERM: return "run it as root; if it fails again, look for an immutable file: lsattr -d PATH";
    case EACCES: return "run it as root";
    case EROFS: return "mount the filesystem read-write: mount -o remount,rw MOUNTPOINT";
    case EINVAL: return "choose ids that its filesystem allows and that are in /proc/self/uid_map";
    case EOVERFLOW: return "choose ids that are in /proc/self/uid_map";
    case EMFILE: case ENFILE: return "raise the limit of open files: ulimit -n 4096";
    case ENOSPC: case EDQUOT: return "free space on the filesystem, then run it again";
    case ESTALE: return "another process moved it; run it again";
    case EOPNOTSUPP: return "its filesystem does not support this; copy it to ext4 or xfs";
    case ENOENT: return "check the path, and that /proc is mounted";
    case ENOTDIR: case ELOOP: return "check the path; if another process changes the tree, run it again";
    default: return "fix this, then run it again";
  }
}

}  // namespace berthd
