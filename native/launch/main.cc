// berth-launch: takes a berth from the broker, carries out the plan, and becomes the server in the same process. The
// broker decides all policy. Anything unexpected ends the launcher before exec. Only --end-with, --log and
// a console fork.
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "launch.h"
#include "plan.h"

namespace berthd {

namespace {

constexpr char kHelp[] =
    "Usage: berth-launch [OPTIONS] BERTH [--] [COMMAND [ARG…]]\n"
    "       berth-launch --trace-binds FD [--as IDS] [--] COMMAND [ARG…]\n"
    "       berth-launch --keep-binds FD\n"
    "       berth-launch --make-root FD WORD…\n"
    "       berth-launch --end-with PID [--] COMMAND [ARG…]\n"
    "\n"
    "Takes BERTH from berthd and runs COMMAND, or else the berth's own server.command, in this process, with the\n"
    "berth's descriptors from fd 3 upward and without privilege.\n"
    "\n"
    "  --socket PATH         the broker's socket; @NAME is an abstract one (default: $BERTHD_SOCKET, else\n"
    "                        $XDG_RUNTIME_DIR/berthd/io.berthd.Broker, else /run/berthd/io.berthd.Broker)\n"
    "  --replace no|try|must what to do about a tenant that holds the berth (default: as the berth says)\n"
    "  --setenv NAME=VALUE   set a variable for the server; may be repeated\n"
    "  --absent-status N     exit with N, 1 to 255, if there is no such berth or you may not take it (default: 1)\n"
    "  --wait                if the berth has a problem, wait until it has none\n"
    "  --timeout SECONDS     wait this long for the broker, all in all (default: 10)\n"
    "  --report FD           write the reason of a failure to FD, too; the server does not get it\n"
    "  --log FILE            the server's output goes to this log, in lines with their time; FILE.1 to FILE.4 are older\n"
    "  --no-namespaces       the server can neither make nor enter namespaces, as with server.no-namespaces\n"
    "  --dry-run             print the plan, give the berth back, exit 0\n"
    "  --contain DIR         COMMAND is a container manager that runs as root: it finds the berth's root mounted at DIR,\n"
    "                        for itself alone, gets the sockets, and keeps its privilege, which is its to give up\n"
    "  --agent               with --contain: the container's seccomp profile reports its binds (`berth oci spec`)\n"
    "  --trace-binds FD      no berth: run COMMAND as it is, its bind(2) calls reported over the UNIX socket FD, which\n"
    "                        gets one byte with seccomp's notify descriptor; `berth explain` is made of it\n"
    "  --as UID:GID[,GROUP…] with --trace-binds, as root: run COMMAND as this user, without capabilities\n"
    "  --keep-binds FD       no berth: answer reported binds once the broker at the other end of the UNIX socket FD is gone\n"
    "  --make-root FD        no berth: make a root for a broker without privilege, and send it over the UNIX socket FD\n"
    "  --end-with PID        no berth: run COMMAND as it is; kill it, and what it started, when PID, our parent, ends\n"
    "  --help, --version\n"
    "\n"
    "Exit status: the server's own; before it runs, 1 refused by the broker, 100 usage, 111 anything that failed.\n"
    "\n"
    "Examples:\n"
    "  berth-launch arena@bob\n"
    "  berth-launch --dry-run arena@bob\n"
    "  berth-launch --setenv MAP=dm6 arena@bob -- /usr/games/ioq3ded +exec server.cfg\n";

struct Options {
  const char* socket = nullptr;
  double timeout = 10;
  bool dryRun = false;
  bool noNamespaces = false;
  const char* contain = nullptr;
  const char* log = nullptr;
  Binds binds = Binds::kByLauncher;
  int traceChannel = -1;
  const char* traceAs = nullptr;
  int keepChannel = -1;
  int rootChannel = -1;
  pid_t parent = 0;
  Request request;
};

double parseTimeout(const char* text) {
  char* end = nullptr;
  const double seconds = strtod(text, &end);
  if (end == text || *end != '\0' || !isfinite(seconds) || seconds <= 0 || seconds > 86400) {
    fail(kUsage, "--timeout %s is not a number of seconds above 0 and at most 86400; write for example --timeout 5",
         text);
  }
  return seconds;
}

int parseFd(const char* option, const char* text) {
  char* end = nullptr;
  errno = 0;
  const long fd = strtol(text, &end, 10);
  if (end == text || *end != '\0' || errno != 0 || fd <= STDERR_FILENO || fd > INT_MAX) {
    fail(kUsage, "%s %s is not the number of a descriptor above 2; pass a connected UNIX socket, as 3", option, text);
  }
  return static_cast<int>(fd);
}

pid_t parsePid(const char* text) {
  char* end = nullptr;
  errno = 0;
  const long pid = strtol(text, &end, 10);
  if (end == text || *end != '\0' || errno != 0 || pid <= 0 || pid > INT_MAX) {
    fail(kUsage, "--end-with %s is not the number of a process; write for example --end-with $$", text);
  }
  return static_cast<pid_t>(pid);
}

int parseStatus(const char* text) {
  char* end = nullptr;
  errno = 0;
  const long status = strtol(text, &end, 10);
  if (end == text || *end != '\0' || errno != 0 || status < 1 || status > 255) {
    fail(kUsage, "--absent-status %s is not an exit code from 1 to 255; write for example --absent-status 101", text);
  }
  return static_cast<int>(status);
}

const char* parseReplace(const char* text) {
  if (strcmp(text, "no") != 0 && strcmp(text, "try") != 0 && strcmp(text, "must") != 0) {
    fail(kUsage, "--replace %s is not known; write no, try or must", text);
  }
  return text;
}

// Later settings of a name win, as in env(1).
void addVariable(List<const char*>& environment, const char* entry) {
  const char* const equals = strchr(entry, '=');
  if (equals == nullptr || equals == entry) {
    fail(kUsage, "--setenv %s does not name a variable; write --setenv NAME=VALUE", entry);
  }
  const size_t prefix = static_cast<size_t>(equals - entry) + 1;
  for (size_t i = 0; i < environment.size(); i++) {
    if (strncmp(environment[i], entry, prefix) == 0) {
      environment[i] = entry;
      return;
    }
  }
  environment.push(entry);
}

[[noreturn]] void printAndExit(const char* text) {
  fputs(text, stdout);
  if (fflush(stdout) != 0) fail(kSystem, "cannot write to standard output: %m; check where it is redirected");
  exit(0);
}

void parseOptions(int argc, char** argv, Options& options) {
  static const option known[] = {
      {"socket", required_argument, nullptr, 's'}, {"replace", required_argument, nullptr, 'r'},
      {"setenv", required_argument, nullptr, 'e'}, {"timeout", required_argument, nullptr, 't'},
      {"no-namespaces", no_argument, nullptr, 'n'}, {"absent-status", required_argument, nullptr, 'a'},
      {"wait", no_argument, nullptr, 'w'},         {"report", required_argument, nullptr, 'o'},
      {"dry-run", no_argument, nullptr, 'd'},      {"contain", required_argument, nullptr, 'c'},
      {"agent", no_argument, nullptr, 'g'},
      {"trace-binds", required_argument, nullptr, 'b'}, {"as", required_argument, nullptr, 'u'},
      {"keep-binds", required_argument, nullptr, 'k'}, {"make-root", required_argument, nullptr, 'm'},
      {"end-with", required_argument, nullptr, 'p'}, {"log", required_argument, nullptr, 'l'},
      {"help", no_argument, nullptr, 'h'},         {"version", no_argument, nullptr, 'v'},
      {nullptr, 0, nullptr, 0},
  };
  opterr = 0;
  int found;
  // "+": everything after BERTH belongs to the server, even if it looks like an option of berth-launch.
  while ((found = getopt_long(argc, argv, "+:", known, nullptr)) != -1) {
    switch (found) {
      case 's': options.socket = optarg; break;
      case 'r': options.request.replace = parseReplace(optarg); break;
      case 'e': addVariable(options.request.environment, optarg); break;
      case 't': options.timeout = parseTimeout(optarg); break;
      case 'l': options.log = optarg; break;
      case 'n': options.noNamespaces = true; break;
      case 'a': options.request.absentStatus = parseStatus(optarg); break;
      case 'w': options.request.waits = true; break;
      case 'o': reportTo(parseFd("--report", optarg)); break;
      case 'd': options.dryRun = true; break;
      case 'c': options.contain = optarg; break;
      case 'g': options.binds = Binds::kByRuntime; break;
      case 'b': options.traceChannel = parseFd("--trace-binds", optarg); break;
      case 'u': options.traceAs = optarg; break;
      case 'k': options.keepChannel = parseFd("--keep-binds", optarg); break;
      case 'm': options.rootChannel = parseFd("--make-root", optarg); break;
      case 'p': options.parent = parsePid(optarg); break;
      case 'h': printAndExit(kHelp);
      case 'v': printAndExit("berth-launch " BERTHD_VERSION "\n");
      case ':': fail(kUsage, "option %s needs a value; see berth-launch --help", argv[optind - 1]);
      default: fail(kUsage, "there is no option %s; see berth-launch --help", argv[optind - 1]);
    }
  }
  if (options.traceAs != nullptr && options.traceChannel < 0) {
    fail(kUsage, "--as goes with --trace-binds only; the user of a berth's server is server.user in its file");
  }
  if (options.keepChannel >= 0) return;
  if (options.rootChannel >= 0) {
    while (optind < argc) options.request.command.push(argv[optind++]);
    options.request.command.push(nullptr);
    return;
  }
  if (options.traceChannel >= 0 || options.parent > 0) {
    const char* const what = options.parent > 0 ? "--end-with PID" : "--trace-binds FD";
    if (optind >= argc) fail(kUsage, "COMMAND is missing; run berth-launch %s COMMAND", what);
    while (optind < argc) options.request.command.push(argv[optind++]);
    options.request.command.push(nullptr);
    return;
  }
  if (options.contain != nullptr && geteuid() != 0) {
    fail(kUsage, "--contain needs root, because the container manager runs as root; start berth-launch as root");
  }
  if (options.contain != nullptr && options.noNamespaces) {
    fail(kUsage, "--contain does not work with --no-namespaces, because a container is made of them; leave one out");
  }
  if (options.contain == nullptr && options.binds == Binds::kByRuntime) {
    fail(kUsage, "--agent is for a container; write --contain DIR, or leave --agent out");
  }
  if (optind >= argc || argv[optind][0] == '\0') {
    fail(kUsage, "BERTH is missing; give one from the list of: berth ls");
  }
  options.request.berth = argv[optind++];
  if (optind < argc && strcmp(argv[optind], "--") == 0) {
    optind++;
  } else if (optind < argc && argv[optind][0] == '-') {
    fail(kUsage, "%s comes after the berth's name; write options before it: berth-launch %s %s. To run a program of that "
         "name: berth-launch %s -- %s",
         argv[optind], argv[optind], options.request.berth, options.request.berth, argv[optind]);
  }
  while (optind < argc) options.request.command.push(argv[optind++]);
}

}  // namespace

}  // namespace berthd

int main(int argc, char** argv) {
  using namespace berthd;
  openStandardFds();
  Options options;
  parseOptions(argc, argv, options);
  if (options.keepChannel >= 0) keepBinds(options.keepChannel);
  if (options.rootChannel >= 0) makeRoot(options.rootChannel, options.request.command.data());
  if (options.parent > 0) endWith(options.parent, options.request.command.data());
  if (options.traceChannel >= 0) traceBinds(options.traceChannel, options.traceAs, options.request.command.data());

  if (options.log != nullptr) logOutput(options.log);
  Inherited inherited;
  takeInherited(inherited);
  Conversation broker;
  Reply reply;
  askBroker(broker, options.socket, options.request, options.timeout, reply);

  Plan plan;
  readPlan(reply.fds[0].get(), reply.count, plan);
  reply.fds[0].reset();
  if (options.noNamespaces) plan.noNamespaces = true;
  if (options.contain == nullptr) dropRootToMount(plan);
  if (options.dryRun) {
    printPlan(options.request.berth, plan);
    return 0;
  }
  if (options.contain != nullptr) containRoot(options.contain, options.binds, plan, reply);
  carryOut(plan, reply, inherited, broker, options.contain != nullptr);
}
