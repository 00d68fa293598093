// Names and errors as people read them: no byte of a file's name reaches a terminal as a command.
#include <errno.h>
#include <stdio.h>

#include "shift.h"

namespace berthd {
namespace {

// The length of the UTF-8 sequence at `at` if it is a well-formed one that prints, else 0.
size_t printing(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  const uint8_t first = byte(at);
  if (first < 0x80) return first >= 0x20 && first != 0x7f && first != '\\' ? 1 : 0;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return 0;
  uint32_t code = first & (0xff >> (length + 1));
  for (size_t i = 1; i < length; i++) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(at + i) & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0xa0, 0x800, 0x10000};  // below 0xa0 are controls
  const bool isSurrogate = code >= 0xd800 && code <= 0xdfff;
  // Marks that turn the direction of a line, and separators of lines.
  const bool isLayout = (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
                        code == 0x200e || code == 0x200f || code == 0x61c;
  return code < kLeast[length] || code > 0x10ffff || isSurrogate || isLayout ? 0 : length;
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
