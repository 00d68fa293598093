// File names and remedies in messages. No byte of a file name reaches a terminal as a command.
#include <errno.h>
#include <stdio.h>

#include "common/utf8.h"
#include "shift.h"

namespace berthd {
namespace {

// The length of the UTF-8 character at `at` if it prints, else 0.
size_t printing(const std::string& text, size_t at) {
  uint32_t point = 0;
  const size_t length = decodeUtf8(text.data() + at, text.size() - at, &point);
  const bool isControl = point < 0x20 || (point >= 0x7f && point < 0xa0);
  // Marks that turn the direction of a line, and separators of lines.
  const bool isLayout = (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) ||
                        point == 0x200e || point == 0x200f || point == 0x61c;
  return isControl || isLayout || point == '\\' ? 0 : length;
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
    case EPERM: return "run it as root, and see whether lsattr(1) shows it as immutable";
    case EACCES: return "run it as root";
    case EROFS: return "mount the filesystem for writing";
    case EINVAL: return "see whether its filesystem, and this user namespace, have such ids";
    case EOVERFLOW: return "see whether this user namespace has such ids";
    case EMFILE: case ENFILE: return "allow more open files (ulimit -n)";
    case ENOSPC: case EDQUOT: return "make room on the filesystem, and start it again";
    case ESTALE: return "somebody moved it meanwhile; start it again";
    case EOPNOTSUPP: return "its filesystem cannot do this";
    case ENOENT: return "check the path, and that /proc is mounted";
    case ENOTDIR: case ELOOP: return "check the path, or start it again if somebody changes the tree";
    default: return "see to that, and start it again";
  }
}

}  // namespace berthd
