// The mounts of shift-mount, by descriptor: nothing is attached until all is done.
#pragma once

#include <string>

#include "shift.h"

namespace berthd {

// What an overlay is made of, by paths without links or dots.
struct Layers {
  std::string lower, upper, work;
};

// What failed: "cannot DOING: SAID". `said` is the kernel's own sentence where it has one.
struct MountProblem {
  std::string doing, said;
  int error = 0;
};

// A user namespace in which the ids from 0 are those of `shift`, or -errno.
UniqueFd userNamespace(const Shift& shift);

// A detached overlay that copies up owners and modes alone (metacopy), and keeps hard links (index). With `userns` its
// lower layer is idmapped. Not valid: see `problem`.
UniqueFd makeOverlay(const Layers& layers, int userns, MountProblem& problem);

// Attaches a detached mount to a directory. Returns 0 or -errno.
int attach(int mount, const char* directory);

// Detaches it again, wherever it is now; programs that are in it keep it until they end. Returns 0 or -errno.
int detach(int mount);

}  // namespace berthd
