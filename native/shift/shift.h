// What both programs share: the mapping of ids, the owners of one file, counts and messages.
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "common/fd.h"

namespace berthd {

// Maps ids into [base, base + range). Ids in that range stay, so a second run changes nothing.
struct Shift {
  uint32_t base = 0;
  uint32_t range = 0;

  uint32_t map(uint32_t id) const { return id - base < range ? id : id % range + base; }
};

// systemd gives each container so many ids (systemd-nspawn(1), --private-users=).
constexpr uint32_t kDefaultRange = 0x10000;

// One file. An open descriptor stays with the file when its name changes. Where no other user can change the names in
// the folder, `folder` and `name` are enough.
struct File {
  int fd;                      // may be O_PATH; -1: use `folder` and `name`
  int folder;                  // the directory of `name`; -1: use `fd`
  const char* name;
  const struct statx& status;  // with kStatus
};

constexpr unsigned kStatus = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_GID | STATX_INO | STATX_MNT_ID;

// What went wrong: "cannot DOING PATH: ERROR; REMEDY".
struct Problem {
  const char* doing = nullptr;
  int error = 0;
};

// kNeedsDescriptor: the file must be opened first; call again with a descriptor.
enum class Outcome { kShifted, kUnchanged, kFailed, kNeedsDescriptor };

// Shifts the owners of files one by one, with the ids in their ACLs and the root id of their capabilities. It restores
// the mode bits and capabilities that the kernel clears when an owner changes. Each thread has its own.
class Owners {
 public:
  Owners(Shift shift, bool dryRun);

  Outcome shift(const File& file, Problem& problem);

 private:
  // Which of the relevant attributes a file has.
  struct Found {
    bool capability = false, accessAcl = false, defaultAcl = false, journal = false;
  };
  using Bytes = std::vector<uint8_t>;

  ssize_t listAttributes(const File& file);
  int find(const File& file, Found& found);
  int shiftAcl(int fd, const char* name, bool& isChanged);
  bool shiftFragile(const File& file, const Found& found, bool& isChanged, Problem& problem);
  int chown(const File& file);

  const Shift shift_;
  const bool dryRun_;
  std::vector<char> list_;
};

// The counts of a run.
struct Counts {
  uint64_t shifted = 0, unchanged = 0, failed = 0, mounts = 0;
};

// `text` on one line, safe for a terminal. Backslashes, control characters and bytes that are not UTF-8 are escaped:
// \\, \n, \xHH.
std::string printable(const std::string& text);

// The name that begins each message.
const char* programName();

// What to do about `error`, as the end of a message.
const char* remedy(int error);

}  // namespace berthd
