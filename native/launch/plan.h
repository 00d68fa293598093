// The launch plan: all that berth-launch does between receiving a berth's descriptors and exec. The broker encodes it
// (src/launch/plan-encode.ts mirrors this file), seals it in a memfd, and sends it as fd 0 of the Launch reply.
//
// Format, all integers little-endian, nothing aligned or padded:
//
//   header   8 bytes "berthpln", u32 version (1), u32 length of the whole plan, header included
//   records  u32 tag, u32 length of the payload, payload; until the plan's end
//
// A text is bytes without NUL followed by one NUL, so it is used in place. Records are in ascending order of tags.
// (1: exactly one, +: one or more, ?: none or one, *: any number.)
//
//   tag             payload
//    1  Lease        1  text: the lease's id
//    2  Flags        1  u32: bit 0 start from the launcher's environment, bit 1 set LISTEN_FDS and its kin,
//                       bit 2 report each bind(2) to the broker, bit 3 refuse namespaces
//    3  Umask        1  u32: at most 0777
//    4  Capabilities 1  u64: bit n keeps capability n as an ambient one
//    5  Argument     +  text: the program, then its arguments
//    6  Environment  *  text: NAME=VALUE
//    7  Descriptor   *  u32 index in the message, text name: the first is placed at fd 3, the next at 4 …
//    8  Limit        *  u64 soft, u64 hard, text resource ("nofile"); kUnlimited, and kKeep for a hard one
//    9  User         ?  u32 uid, u32 gid, then u32 for each supplementary group
//   10  Directory    ?  text: an absolute path
//   11  Tracer       ?  u32: pid of the process that may trace the server (Yama, PR_SET_PTRACER)
//   12  Root         ?  u32 index of a user namespace, u32 index of a directory's detached mount, u32 flags: the
//                       launcher joins the namespace, and the mount becomes its "/". The plan's ids and paths are those
//                       inside. Bit 0: supplementary groups stay, because in that namespace they cannot be changed
//   13  Mount        *  u32 index of a detached mount, text target: its path in the root. It is mounted after the
//                       launcher's own /dev, /tmp and /run
//   14  Bind         *  u32 flags, text source, text target: a folder or file of the launcher's own tree, with all
//                       mounts below it, mounted in the root as by Mount. Bit 0: read-only
//   15  Notify       ?  u64 microseconds, text address: NOTIFY_SOCKET is set to the address, unless the
//                       server reports to the service manager (serversManager). Unless the microseconds are 0,
//                       WATCHDOG_USEC is set to them, and WATCHDOG_PID to this process
//   16  Console      ?  u32 index of a listening UNIX socket: the server gets a terminal of its own as standard
//                       streams, and its keeper answers there (console.h)
//
// Any deviation refuses the whole plan. It is carried out with privilege, so nothing in it is guessed.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "launch.h"

namespace berthd {

constexpr char kPlanMagic[] = "berthpln";
constexpr uint32_t kPlanVersion = 1;
constexpr size_t kPlanHeader = 16;
constexpr size_t kPlanMax = 4 << 20;

enum class PlanTag : uint32_t {
  kLease = 1,
  kFlags,
  kUmask,
  kCapabilities,
  kArgument,
  kEnvironment,
  kDescriptor,
  kLimit,
  kUser,
  kDirectory,
  kTracer,
  kRoot,
  kMount,
  kBind,
  kNotify,
  kConsole,
};

constexpr uint32_t kInheritEnvironment = 1;
// The name of a root that the server does not get: it can only be mounted for it (--contain).
constexpr char kRootToMount[] = ".root";
constexpr uint32_t kListenFds = 2;
constexpr uint32_t kReportBinds = 4;
constexpr uint32_t kNoNamespaces = 8;

constexpr uint32_t kKeepGroups = 1;
constexpr uint32_t kReadOnly = 1;

// kUnlimited: no limit. kKeep: the hard limit stays as it is, and the soft one is lowered to it if it is higher.
constexpr uint64_t kUnlimited = UINT64_MAX;
constexpr uint64_t kKeep = UINT64_MAX - 1;

struct PlanDescriptor {
  uint32_t index;
  const char* name;
};

struct PlanMount {
  uint32_t index;
  const char* target;
};

struct PlanBind {
  bool readOnly;
  const char* source;
  const char* target;
};

struct PlanLimit {
  uint64_t soft;
  uint64_t hard;
  const char* resource;
};

// A decoded plan. Its texts point into the bytes it was decoded from.
struct Plan {
  const char* lease = nullptr;
  bool inheritEnvironment = false;
  bool listenFds = false;
  bool reportBinds = false;
  bool noNamespaces = false;
  mode_t umask = 0;
  uint64_t capabilities = 0;
  List<const char*> argv;
  List<const char*> environment;
  List<PlanDescriptor> descriptors;
  List<PlanLimit> limits;
  bool hasUser = false;
  uid_t uid = 0;
  gid_t gid = 0;
  List<gid_t> groups;
  const char* directory = nullptr;
  uint32_t tracer = 0;
  const char* notify = nullptr;
  uint64_t watchdog = 0;
  uint32_t console = 0;  // an index in the message, as those below; 0: none
  bool hasRoot = false;
  uint32_t userns = 0;  // this, `root` and those of `mounts` are indices in the message
  uint32_t root = 0;
  bool keepGroups = false;
  List<PlanMount> mounts;
  List<PlanBind> binds;
};

// Decodes `size` bytes that came with `received` descriptors. Returns nullptr, or what is wrong with them.
const char* decodePlan(const uint8_t* bytes, size_t size, size_t received, Plan& plan);

// Maps the sealed memfd `fd` and decodes it, or ends the process: an unsealed plan could change while it is in use.
void readPlan(int fd, size_t received, Plan& plan);

// Prints the plan for people, one fact a line.
void printPlan(const char* berth, const Plan& plan);

}  // namespace berthd
