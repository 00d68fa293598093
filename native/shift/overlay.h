// The mounts of shift-mount, as descriptors: attach() makes the finished overlay visible, and nothing before it.
#pragma once

#include <string>

#include "shift.h"

namespace berthd {

// The directories of an overlay, as paths without links or dots.
struct Layers {
  std::string lower, upper, work;
};

// What failed: "cannot DOING: REASON". `reason` has the kernel's own message where there is one.
struct MountProblem {
  std::string doing, reason;
  int error = 0;
};

// A user namespace that maps its ids from 0 to those of `shift`, or -errno.
UniqueFd userNamespace(const Shift& shift);

// A detached overlay. It copies up owners and modes without data (metacopy), and keeps hard links (index). With
// `userns` its lower layer is idmapped. If the result is not valid, `problem` says why.
UniqueFd makeOverlay(const Layers& layers, int userns, MountProblem& problem);

// Attaches a detached mount to a directory. Returns 0 or -errno.
int attach(int mount, const char* directory);

// Unmounts it, wherever it is attached now. Programs that use it keep it until they end. Returns 0 or -errno.
int detach(int mount);

}  // namespace berthd
