// Reads a plan (plan.h): checks its seals, decodes it strictly, and prints it. Changes nothing.
#include "plan.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "common/printable.h"

namespace berthd {
namespace {

uint32_t readU32(const uint8_t* at) {
  return static_cast<uint32_t>(at[0]) | static_cast<uint32_t>(at[1]) << 8 | static_cast<uint32_t>(at[2]) << 16 |
         static_cast<uint32_t>(at[3]) << 24;
}

uint64_t readU64(const uint8_t* at) {
  return readU32(at) | static_cast<uint64_t>(readU32(at + 4)) << 32;
}

// The text that fills a payload from `from` to its end, or nullptr if it is not one.
const char* readText(const uint8_t* payload, size_t length, size_t from = 0) {
  if (length <= from || memchr(payload + from, '\0', length - from) != payload + length - 1) return nullptr;
  return reinterpret_cast<const char*>(payload + from);
}

// LISTEN_FDNAMES takes ASCII without control characters and ':', at most 255 (sd_listen_fds(3)).
bool isFdName(const char* name) {
  size_t length = 0;
  for (; name[length] != '\0'; length++) {
    const unsigned char c = static_cast<unsigned char>(name[length]);
    if (c < 0x20 || c >= 0x7f || c == ':') return false;
  }
  return length <= 255;
}

bool repeats(PlanTag tag) {
  return tag == PlanTag::kArgument || tag == PlanTag::kEnvironment || tag == PlanTag::kDescriptor ||
         tag == PlanTag::kLimit || tag == PlanTag::kMount || tag == PlanTag::kBind;
}

// Each descriptor of the message is moved to its use, so it has only one. 0 is the plan itself.
const char* claim(uint32_t index, size_t received, const Plan& plan) {
  if (index == 0 || index >= received) return "it names a descriptor that did not come with it";
  bool taken = index == plan.console;
  taken = taken || (plan.hasRoot && (index == plan.userns || index == plan.root));
  for (const PlanDescriptor& other : plan.descriptors) taken = taken || other.index == index;
  for (const PlanMount& other : plan.mounts) taken = taken || other.index == index;
  return taken ? "it names one descriptor twice" : nullptr;
}

const char* decodeDescriptor(const uint8_t* payload, size_t length, size_t received, Plan& plan) {
  const char* const name = readText(payload, length, 4);
  if (name == nullptr || !isFdName(name)) return "a descriptor has no valid name";
  const uint32_t index = readU32(payload);
  const char* const problem = claim(index, received, plan);
  if (problem == nullptr) plan.descriptors.push({index, name});
  return problem;
}

const char* decodeRoot(const uint8_t* payload, size_t length, size_t received, Plan& plan) {
  if (length != 12 || (readU32(payload + 8) & ~kKeepGroups) != 0) return "its root is malformed";
  const uint32_t userns = readU32(payload);
  const uint32_t root = readU32(payload + 4);
  const char* problem = claim(userns, received, plan);
  if (problem == nullptr) problem = claim(root, received, plan);
  if (problem == nullptr && userns == root) problem = "it names one descriptor twice";
  if (problem != nullptr) return problem;
  plan.hasRoot = true;
  plan.userns = userns;
  plan.root = root;
  plan.keepGroups = (readU32(payload + 8) & kKeepGroups) != 0;
  return nullptr;
}

const char* decodeMount(const uint8_t* payload, size_t length, size_t received, Plan& plan) {
  const char* const target = readText(payload, length, 4);
  if (target == nullptr || target[0] != '/') return "a mount has no absolute path";
  if (!plan.hasRoot) return "it has a mount without a root";
  const char* const problem = claim(readU32(payload), received, plan);
  if (problem == nullptr) plan.mounts.push({readU32(payload), target});
  return problem;
}

// (uid_t)-1 would mean "leave it as it is" to setresuid(2).
const char* decodeUser(const uint8_t* payload, size_t length, Plan& plan) {
  if (length < 8 || length % 4 != 0) return "its user is malformed";
  for (size_t at = 0; at < length; at += 4) {
    if (readU32(payload + at) == UINT32_MAX) return "its user has the id 4294967295";
  }
  plan.hasUser = true;
  plan.uid = readU32(payload);
  plan.gid = readU32(payload + 4);
  for (size_t at = 8; at < length; at += 4) plan.groups.push(readU32(payload + at));
  return nullptr;
}

const char* decodeBind(const uint8_t* payload, size_t length, Plan& plan) {
  const void* const end = length < 4 ? nullptr : memchr(payload + 4, '\0', length - 4);
  if (end == nullptr || (readU32(payload) & ~kReadOnly) != 0) return "a bind is malformed";
  const size_t second = static_cast<size_t>(static_cast<const uint8_t*>(end) - payload) + 1;
  const char* const source = reinterpret_cast<const char*>(payload + 4);
  const char* const target = readText(payload, length, second);
  if (target == nullptr || source[0] != '/' || target[0] != '/') return "a bind has no absolute paths";
  if (!plan.hasRoot) return "it has a bind without a root";
  plan.binds.push({(readU32(payload) & kReadOnly) != 0, source, target});
  return nullptr;
}

const char* decodeRecord(PlanTag tag, const uint8_t* payload, size_t length, size_t received, Plan& plan) {
  switch (tag) {
    case PlanTag::kLease:
      plan.lease = readText(payload, length);
      return plan.lease == nullptr ? "its lease is malformed" : nullptr;
    case PlanTag::kFlags: {
      if (length != 4) return "its flags are malformed";
      const uint32_t flags = readU32(payload);
      plan.inheritEnvironment = (flags & kInheritEnvironment) != 0;
      plan.listenFds = (flags & kListenFds) != 0;
      plan.reportBinds = (flags & kReportBinds) != 0;
      plan.noNamespaces = (flags & kNoNamespaces) != 0;
      const uint32_t known = kInheritEnvironment | kListenFds | kReportBinds | kNoNamespaces;
      return (flags & ~known) != 0 ? "it has an unknown flag" : nullptr;
    }
    case PlanTag::kUmask:
      if (length != 4 || readU32(payload) > 0777) return "its umask is malformed";
      plan.umask = readU32(payload);
      return nullptr;
    case PlanTag::kCapabilities:
      if (length != 8) return "its capabilities are malformed";
      plan.capabilities = readU64(payload);
      return nullptr;
    case PlanTag::kArgument:
      plan.argv.push(readText(payload, length));
      return plan.argv[plan.argv.size() - 1] == nullptr ? "an argument is malformed" : nullptr;
    case PlanTag::kEnvironment: {
      const char* const entry = readText(payload, length);
      if (entry == nullptr || entry[0] == '=' || strchr(entry, '=') == nullptr) return "a variable is malformed";
      plan.environment.push(entry);
      return nullptr;
    }
    case PlanTag::kDescriptor: return decodeDescriptor(payload, length, received, plan);
    case PlanTag::kLimit: {
      const char* const resource = readText(payload, length, 16);
      if (resource == nullptr) return "a limit is malformed";
      plan.limits.push({readU64(payload), readU64(payload + 8), resource});
      return nullptr;
    }
    case PlanTag::kUser: return decodeUser(payload, length, plan);
    case PlanTag::kDirectory:
      plan.directory = readText(payload, length);
      return plan.directory == nullptr || plan.directory[0] != '/' ? "its directory is not an absolute path" : nullptr;
    case PlanTag::kTracer:
      if (length != 4 || readU32(payload) == 0) return "its tracer is malformed";
      plan.tracer = readU32(payload);
      return nullptr;
    case PlanTag::kRoot: return decodeRoot(payload, length, received, plan);
    case PlanTag::kMount: return decodeMount(payload, length, received, plan);
    case PlanTag::kBind: return decodeBind(payload, length, plan);
    case PlanTag::kNotify:
      plan.notify = readText(payload, length, 8);
      if (plan.notify == nullptr || (plan.notify[0] != '/' && plan.notify[0] != '@')) return "its notify is malformed";
      plan.watchdog = readU64(payload);
      return nullptr;
    case PlanTag::kConsole: {
      const char* const problem = length != 4 ? "its console is malformed" : claim(readU32(payload), received, plan);
      if (problem == nullptr) plan.console = readU32(payload);
      return problem;
    }
  }
  return "it has an unknown record";
}

void printText(const char* what, const char* text) {
  Text line;
  // The broker sends UTF-8. Text that is not is printed up to the first such byte.
  line.appendJson(text);
  printf("%-12s %s\n", what, line.string());
}

void printLimit(const char* which, uint64_t value) {
  if (value == kUnlimited) printf(" %s unlimited", which);
  else if (value == kKeep) printf(" %s as it is", which);
  else printf(" %s %llu", which, static_cast<unsigned long long>(value));
}

}  // namespace

const char* decodePlan(const uint8_t* bytes, size_t size, size_t received, Plan& plan) {
  if (size < kPlanHeader || memcmp(bytes, kPlanMagic, 8) != 0) return "it does not start with \"berthpln\"";
  if (readU32(bytes + 8) != kPlanVersion) return "it has another version";
  if (readU32(bytes + 12) != size) return "its length differs from its header";
  uint32_t last = 0;
  uint32_t seen = 0;
  for (size_t at = kPlanHeader; at < size;) {
    if (size - at < 8) return "a record is cut off";
    const uint32_t tag = readU32(bytes + at);
    const size_t length = readU32(bytes + at + 4);
    at += 8;
    if (length > size - at) return "a record is cut off";
    if (tag < last || (tag == last && !repeats(PlanTag{tag}))) return "a record is out of order or repeated";
    const char* const problem = decodeRecord(PlanTag{tag}, bytes + at, length, received, plan);
    if (problem != nullptr) return problem;
    seen |= 1u << tag;
    last = tag;
    at += length;
  }
  for (uint32_t tag = static_cast<uint32_t>(PlanTag::kLease); tag <= static_cast<uint32_t>(PlanTag::kArgument); tag++) {
    if ((seen & 1u << tag) == 0) return "a record is missing";
  }
  return nullptr;
}

void readPlan(int fd, size_t received, Plan& plan) {
  constexpr int kSealed = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSealed) != kSealed) {
    fail(kSystem,
         "the broker's plan is not sealed, so it could change while it is in use; check that the broker is berthd");
  }
  struct stat status;
  if (fstat(fd, &status) != 0) fail(kSystem, "cannot examine the broker's plan: %m");
  if (status.st_size < 1 || static_cast<uint64_t>(status.st_size) > kPlanMax) {
    fail(kSystem, "the broker's plan has %lld bytes, not 1 to %zu; check that the broker is berthd",
         static_cast<long long>(status.st_size), kPlanMax);
  }
  const size_t size = static_cast<size_t>(status.st_size);
  // Never unmapped: the plan's texts are used until exec.
  void* const bytes = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (bytes == MAP_FAILED) fail(kSystem, "cannot map the broker's plan: %m; raise the memory limit of berth-launch");
  const char* const problem = decodePlan(static_cast<const uint8_t*>(bytes), size, received, plan);
  if (problem != nullptr) {
    fail(kSystem, "cannot use the broker's plan: %s; install berthd and berth-launch of the same version",
         problem);
  }
}

void printPlan(const char* berth, const Plan& plan) {
  printText("berth", berth);
  printText("lease", plan.lease);
  for (size_t i = 0; i < plan.argv.size(); i++) printText(i == 0 ? "program" : "argument", plan.argv[i]);
  printf("%-12s %s\n", "environment", plan.inheritEnvironment ? "the launcher's, and" : "only");
  for (const char* entry : plan.environment) printText("", entry);
  for (size_t i = 0; i < plan.descriptors.size(); i++) {
    char what[20];
    snprintf(what, sizeof what, "fd %zu", i + 3);
    printText(what, plan.descriptors[i].name);
  }
  printf("%-12s %s\n", "listen-fds", plan.listenFds ? "yes" : "no");
  printf("%-12s %s\n", "bind", plan.reportBinds ? "reported to the broker" : "not reported");
  if (plan.noNamespaces) printf("%-12s refused\n", "namespaces");
  if (plan.hasUser) {
    printf("%-12s uid %u gid %u groups", "user", plan.uid, plan.gid);
    if (plan.keepGroups) printf(" as they are");
    for (const gid_t group : plan.groups) printf(" %u", group);
    printf("%s\n", plan.groups.size() == 0 && !plan.keepGroups ? " none" : "");
  } else {
    printf("%-12s the launcher's\n", "user");
  }
  printf("%-12s", "capabilities");
  for (unsigned capability = 0; capability < 64; capability++) {
    if ((plan.capabilities >> capability & 1) != 0) printf(" %u", capability);
  }
  printf("%s\n", plan.capabilities == 0 ? " none" : "");
  for (const PlanLimit& limit : plan.limits) {
    Text resource;
    escapeText(limit.resource, strlen(limit.resource),
               [&](const char* piece, size_t size) { resource.append(piece, size); });
    printf("%-12s %s", "limit", resource.string());
    printLimit("soft", limit.soft);
    printLimit("hard", limit.hard);
    printf("\n");
  }
  printf("%-12s %04o\n", "umask", static_cast<unsigned>(plan.umask));
  if (plan.directory != nullptr) printText("directory", plan.directory);
  if (plan.hasRoot) printf("%-12s the berth's own; ids and paths are those inside\n", "root");
  for (const PlanMount& mount : plan.mounts) printText("mount", mount.target);
  for (const PlanBind& bind : plan.binds) {
    printText(bind.readOnly ? "bind, ro" : "bind", bind.target);
    printText("  of", bind.source);
  }
  if (plan.notify != nullptr) printText("notify", plan.notify);
  if (plan.console != 0) printf("%-12s a terminal of its own, unless standard input is one\n", "console");
  if (fflush(stdout) != 0) fail(kSystem, "cannot write the plan to standard output: %m; check where it is redirected");
}

}  // namespace berthd
