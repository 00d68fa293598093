// Builds the server's environment and execs the server. This is the launcher's last step.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "plan.h"

extern char** environ;

namespace berthd {
namespace {

constexpr char kDefaultPath[] = "/usr/local/bin:/usr/bin:/bin";

size_t nameLength(const char* entry) {
  const char* const equals = strchr(entry, '=');
  return equals == nullptr ? strlen(entry) : static_cast<size_t>(equals - entry);
}

bool isNamed(const char* entry, const char* name, size_t length) {
  return nameLength(entry) == length && strncmp(entry, name, length) == 0;
}

// Variables that were set for another process, not for the server.
bool isActivation(const char* entry) {
  static const char* const names[] = {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID"};
  for (const char* name : names) {
    if (isNamed(entry, name, strlen(name))) return true;
  }
  return false;
}

const char* findVariable(const List<const char*>& environment, const char* name) {
  for (const char* entry : environment) {
    if (isNamed(entry, name, strlen(name))) return entry + strlen(name) + 1;
  }
  return nullptr;
}

// Variables of sd_notify(3). They stay valid: the server is the same process as the launcher.
bool isNotify(const char* entry) {
  static const char* const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
  for (const char* name : names) {
    if (isNamed(entry, name, strlen(name))) return true;
  }
  return false;
}

// In the launcher's environment: whom the server's messages are for.
constexpr char kReportsTo[] = "BERTHD_NOTIFY";

// Owns the text of variables in the environment.
struct Variables {
  Text listenFds, listenPid, listenNames, listenPidfdId, notify, watchdog, watchdogPid;
};

void setActivation(const Plan& plan, Inherited& inherited, Variables& variables, List<const char*>& environment) {
  char number[48];
  snprintf(number, sizeof number, "LISTEN_FDS=%zu", plan.descriptors.size() + inherited.fds.size());
  variables.listenFds.append(number);
  snprintf(number, sizeof number, "LISTEN_PID=%d", static_cast<int>(getpid()));
  variables.listenPid.append(number);
  variables.listenNames.append("LISTEN_FDNAMES=");
  for (size_t i = 0; i < plan.descriptors.size(); i++) {
    if (i > 0) variables.listenNames.append(":");
    variables.listenNames.append(plan.descriptors[i].name);
  }
  if (inherited.fds.size() > 0) {
    // Its first colon separates it from names before it.
    variables.listenNames.append(inherited.names.string() + (plan.descriptors.size() == 0 ? 1 : 0));
  }
  environment.push(variables.listenFds.string());
  environment.push(variables.listenPid.string());
  environment.push(variables.listenNames.string());
  if (inherited.pidfdId == nullptr) return;
  variables.listenPidfdId.append("LISTEN_PIDFDID=");
  variables.listenPidfdId.append(inherited.pidfdId);
  environment.push(variables.listenPidfdId.string());
}

void setNotify(const Plan& plan, Variables& variables, List<const char*>& environment) {
  variables.notify.append("NOTIFY_SOCKET=");
  variables.notify.append(plan.notify);
  environment.push(variables.notify.string());
  if (plan.watchdog == 0) return;
  char number[48];
  snprintf(number, sizeof number, "WATCHDOG_USEC=%llu", static_cast<unsigned long long>(plan.watchdog));
  variables.watchdog.append(number);
  snprintf(number, sizeof number, "WATCHDOG_PID=%d", static_cast<int>(getpid()));
  variables.watchdogPid.append(number);
  environment.push(variables.watchdog.string());
  environment.push(variables.watchdogPid.string());
}

// The plan's variables override the launcher's. If the server reports to the service manager that started the launcher,
// it keeps its NOTIFY_SOCKET, even if the plan drops all other variables. Otherwise it gets the plan's.
void buildEnvironment(const Plan& plan, Inherited& inherited, Variables& variables, List<const char*>& environment) {
  const bool isManaged = serversManager(plan) != nullptr;
  for (char** inherited = environ; *inherited != nullptr; inherited++) {
    bool wanted = isNotify(*inherited) ? isManaged : plan.inheritEnvironment && !isActivation(*inherited);
    wanted = wanted && !isNamed(*inherited, kReportsTo, sizeof kReportsTo - 1);
    for (const char* entry : plan.environment) wanted = wanted && !isNamed(*inherited, entry, nameLength(entry));
    if (wanted) environment.push(*inherited);
  }
  for (const char* entry : plan.environment) {
    if (!isActivation(entry)) environment.push(entry);
  }
  if (plan.listenFds || inherited.fds.size() > 0) setActivation(plan, inherited, variables, environment);
  if (plan.notify != nullptr && findVariable(environment, "NOTIFY_SOCKET") == nullptr) {
    setNotify(plan, variables, environment);
  }
}

[[noreturn]] void failExec(const char* program, int error, const char* path) {
  if (error == ENOENT && path != nullptr) {
    fail(kSystem, "cannot run %s: it is not in PATH=%s; install it, or write its full path in server.command", program,
         path);
  }
  const char* remedy = "check server.command of the berth";
  if (error == ENOENT && access(program, F_OK) == 0) remedy = "install the interpreter or loader that it names";
  else if (error == ENOENT) remedy = "install it, or correct server.command of the berth";
  else if (error == EACCES) remedy = "let the server's user read and execute it, and enter the directories above it";
  else if (error == ENOEXEC) remedy = "give a program for this machine, or a script that starts with #!";
  else if (error == EPERM) remedy = "if it has file capabilities, remove them: setcap -r FILE; the berth's sockets need none";
  else if (error == E2BIG) remedy = "shorten its arguments and environment";
  fail(kSystem, "cannot run %s as uid %u: %s; %s", program, getuid(), strerror(error), remedy);
}

// Calls `visit` with each place of a name without slashes in PATH.
template <class Visit>
void forEachPlace(const char* program, const char* path, Visit visit) {
  for (const char* directory = path; *program != '\0';) {
    const char* const end = strchrnul(directory, ':');
    Text candidate;
    candidate.append(directory, static_cast<size_t>(end - directory));
    if (candidate.size() > 0) candidate.append("/");
    candidate.append(program);
    visit(candidate.string());
    if (*end == '\0') return;
    directory = end + 1;
  }
}

// As execvpe(3), but with PATH of the server's environment, and without the fallback to sh.
[[noreturn]] void execute(const char* program, char* const* argv, char* const* environment, const char* path) {
  if (strchr(program, '/') != nullptr) {
    execve(program, argv, environment);
    failExec(program, errno, nullptr);
  }
  int error = ENOENT;
  forEachPlace(program, path, [&](const char* candidate) {
    execve(candidate, argv, environment);
    if (errno == EACCES) error = EACCES;
    else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE && errno != ENODEV && errno != ETIMEDOUT) {
      failExec(candidate, errno, nullptr);
    }
  });
  failExec(program, error, path);
}

// PATH of the server's environment.
const char* searchPath(const Plan& plan) {
  for (const char* entry : plan.environment) {
    if (isNamed(entry, "PATH", 4)) return entry + 5;
  }
  const char* const own = plan.inheritEnvironment ? getenv("PATH") : nullptr;
  return own == nullptr ? kDefaultPath : own;
}

}  // namespace

const char* serversManager(const Plan& plan) {
  const char* const manager = getenv("NOTIFY_SOCKET");
  if (manager == nullptr || *manager == '\0') return nullptr;
  const char* const to = getenv(kReportsTo);
  const bool isBrokers = to != nullptr && strcmp(to, "broker") == 0;
  return isBrokers && plan.notify != nullptr && getenv("WATCHDOG_USEC") == nullptr ? nullptr : manager;
}

uint64_t fileCapabilities(const Plan& plan) {
  const char* const program = plan.argv[0];
  uint64_t capabilities = 0;
  if (strchr(program, '/') == nullptr) {
    forEachPlace(program, searchPath(plan), [&](const char* place) { capabilities |= fileCapabilities(place); });
    return capabilities;
  }
  Text path;
  if (*program != '/' && plan.directory != nullptr) {
    path.append(plan.directory);
    path.append("/");
  }
  path.append(program);
  return fileCapabilities(path.string());
}

void execServer(const Plan& plan, Inherited& inherited) {
  Variables variables;
  List<const char*> environment;
  buildEnvironment(plan, inherited, variables, environment);
  environment.push(nullptr);
  List<const char*> argv;
  for (const char* argument : plan.argv) argv.push(argument);
  argv.push(nullptr);
  execute(plan.argv[0], const_cast<char* const*>(argv.data()), const_cast<char* const*>(environment.data()),
          searchPath(plan));
}

}  // namespace berthd
