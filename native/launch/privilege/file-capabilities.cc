// Which file capabilities (setcap(8)) the server's program has. execve(2) fails with EPERM if one of them is not in the
// bounding set. The server gets none of them: no_new_privs takes them away again (capabilities(7)).
#include <endian.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "launch/plan.h"

namespace berthd {
namespace {

// A script names its interpreter, which may be a script, too; the kernel follows at most so many (fs/exec.c).
constexpr int kMaxInterpreters = 5;

// As many bytes of a script as the kernel reads for the interpreter's name (BINPRM_BUF_SIZE).
constexpr size_t kMaxLine = 256;

uint64_t capabilitiesOf(const char* path) {
  vfs_ns_cap_data data = {};
  const ssize_t size = getxattr(path, "security.capability", &data, sizeof data);
  if (size < static_cast<ssize_t>(XATTR_CAPS_SZ_1)) return 0;
  const uint32_t magic = le32toh(data.magic_etc);
  // A program that is to raise them itself starts without them.
  if ((magic & VFS_CAP_FLAGS_EFFECTIVE) == 0) return 0;
  const uint64_t low = le32toh(data.data[0].permitted);
  const uint64_t high = (magic & VFS_CAP_REVISION_MASK) == VFS_CAP_REVISION_1 ? 0 : le32toh(data.data[1].permitted);
  return high << 32 | low;
}

// Puts the interpreter that a script's first line names into `path`. Returns false if it is no script.
bool readInterpreter(Text& path) {
  char line[kMaxLine + 1] = {};
  // Not a FIFO, which open(2) would wait for.
  const UniqueFd fd(open(path.string(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd.valid() || pread(fd.get(), line, kMaxLine, 0) < 2 || line[0] != '#' || line[1] != '!') return false;
  const char* const name = line + 2 + strspn(line + 2, " \t");
  const size_t length = strcspn(name, " \t\n");
  if (length == 0) return false;
  path.shrink(0);
  path.append(name, length);
  return true;
}

}  // namespace

uint64_t fileCapabilities(const char* program) {
  Text path;
  path.append(program);
  uint64_t capabilities = 0;
  for (int depth = 0; depth <= kMaxInterpreters; depth++) {
    capabilities |= capabilitiesOf(path.string());
    if (!readInterpreter(path)) break;
  }
  return capabilities;
}

}  // namespace berthd
