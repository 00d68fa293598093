// What the parts of berth-launch share: how it ends, what it owns, and what it asks the broker. Depends on libc alone:
// no libstdc++, no exceptions, no threads.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <new>

#include "common/fd.h"
#include "common/rights.h"

namespace berthd {

enum ExitCode : int { kRefused = 1, kUsage = 100, kSystem = 111 };

// Ends the process with "berth-launch: SENTENCE" on stderr. Every failure ends here, before exec.
[[noreturn, gnu::format(printf, 2, 3)]] void fail(ExitCode code, const char* format, ...);

// Writes the same line, and goes on.
[[gnu::format(printf, 1, 2)]] void warn(const char* format, ...);

template <class T>
class List;

// Writes the sentence of a failure to this descriptor, too. The server does not get it.
void reportTo(int fd);

// Keeps the descriptor of --report above the server's numbers, among those that are `kept`.
void keepReport(int above, List<int>& kept);

// A growing array of plain values, or of owners such as UniqueFd, which can move in memory byte by byte.
template <class T>
class List {
 public:
  List() = default;
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  ~List() {
    shrink(0);
    free(items_);
  }

  size_t size() const { return size_; }
  T* data() { return items_; }
  const T* data() const { return items_; }
  T& operator[](size_t index) { return items_[index]; }
  const T& operator[](size_t index) const { return items_[index]; }
  const T* begin() const { return items_; }
  const T* end() const { return items_ + size_; }

  void push(T item) { new (grow(1)) T(static_cast<T&&>(item)); }
  // Room for `count` more items, which the caller fills.
  T* grow(size_t count) {
    if (count > capacity_ - size_) {
      capacity_ = (size_ + count) * 2;
      items_ = static_cast<T*>(reallocarray(static_cast<void*>(items_), capacity_, sizeof(T)));
      if (items_ == nullptr) fail(kSystem, "out of memory; give the launcher more than it has now");
    }
    T* const room = items_ + size_;
    size_ += count;
    return room;
  }
  void shrink(size_t size) {
    for (size_t i = size; i < size_; i++) items_[i].~T();
    size_ = size;
  }

 private:
  T* items_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

// Text that is being put together. append() takes it as it is; appendJson() as a JSON string with its quotes, and
// returns false, with nothing usable appended, if the text is not UTF-8.
class Text : public List<char> {
 public:
  void append(const char* text, size_t length) {
    if (length > 0) memcpy(grow(length), text, length);
  }
  void append(const char* text) { append(text, strlen(text)); }
  bool appendJson(const char* text, size_t length);
  bool appendJson(const char* text) { return appendJson(text, strlen(text)); }
  // The text as a C string; valid until it is changed.
  const char* string() {
    push('\0');
    shrink(size() - 1);
    return data();
  }
};

// Appends the JSON string whose opening quote is before `json`, up to its closing quote, for a terminal: control
// characters become spaces. `json` ends with NUL.
void appendUnescaped(Text& out, const char* json);

// Closes all descriptors from `first` up, except `kept`, which it sorts.
void closeAllBut(List<int>& kept, int first);

// Sends a byte with descriptors over a connected UNIX socket, or ends the process. `what` names them for the message.
void sendFds(int channel, const int* fds, size_t count, const char* what);

// Waits for a berth with a problem, ever longer.
class Patience {
 public:
  // `sentence` says which problem.
  void wait(const char* sentence);

 private:
  Text told_;
  unsigned seconds_ = 1;
};

// What to ask for. An absent `replace` and empty lists are left out of the call.
struct Request {
  const char* berth = nullptr;
  List<const char*> command;
  List<const char*> environment;  // NAME=VALUE, each name once
  const char* replace = nullptr;
  bool waits = false;             // while the berth has a problem
  int absentStatus = kRefused;  // exit code where there is no such berth, or the caller may not take it
};

// The descriptors of a successful reply, in the message's order; the plan is the first. `sender` is the user that sent
// it: all of it.
struct Reply {
  UniqueFd fds[kMaxFds];
  size_t count = 0;
  bool hasSender = false;
  uid_t sender = 0;
};

// A connection to the broker, its path for messages, and the deadline.
struct Conversation {
  UniqueFd fd;
  Text path;
  int64_t deadline = 0;  // milliseconds, CLOCK_MONOTONIC
  double timeout = 0;    // seconds, for messages

  // Milliseconds that are left; ends the process when there are none.
  int left(const char* doing);
  void await(short events, const char* doing);
};

// Calls io.berthd.Broker.Launch at `socket` (nullptr: the usual places) and waits at most `timeout` seconds in all.
// Ends the process if the broker refuses (1) or cannot be asked (111).
void askBroker(Conversation& broker, const char* socket, const Request& request, double timeout, Reply& reply);

// Calls io.berthd.Broker.Intercept with the descriptor on which bind(2) calls are reported, or ends the process.
void offerBinds(Conversation& broker, const char* lease, int notify);

// What a service manager passed to this process, from fd 3 upward.
struct Inherited {
  List<int> fds;
  Text names;                     // of each, with a colon before it
  const char* pidfdId = nullptr;  // LISTEN_PIDFDID, which is valid for the server: it is the same process
};

// Reads LISTEN_FDS and what belongs to it; or ends the process if these contradict each other.
void takeInherited(Inherited& inherited);

struct Plan;

// Makes fds 0–2 exist and survive exec, before anything else of ours can land on their numbers.
void openStandardFds();

// Leaves the session keyring for a new one, of the present user, which is empty. Returns false with errno if the server
// could still use the launcher's keys.
bool leaveKeyring();

// From here on standard output and error go to the log at `path`, which another process writes; or to where they went
// before, with a warning.
void logOutput(const char* path);

// Makes the plan's root the process's own, so that nothing else of the file tree can be reached, as root of its user
// namespace; or ends the process.
void enterRoot(const Plan& plan, Reply& reply);

// Takes a root that the server does not get out of the plan.
void dropRootToMount(Plan& plan);

// Who has the binds of a container reported: the launcher cannot, for its filter would be the container manager's, too.
enum class Binds { kByLauncher, kByRuntime };

// Mounts the plan's root descriptor at `directory`, in a mount namespace of this process, and takes it out of the plan;
// or ends the process.
void containRoot(const char* directory, Binds binds, Plan& plan, Reply& reply);

// The file capabilities of a program that takes effect at once, and of the interpreters it names, as bits.
uint64_t fileCapabilities(const char* program);

// Those of the plan's program, before the plan's directory is entered.
uint64_t fileCapabilities(const Plan& plan);

// Keeps only the ids and capabilities of the plan, for good, or ends the process.
void dropPrivilege(const Plan& plan);

// Whether this process has a terminal, or a server could get one from it.
bool canReachTerminal();

// Installs the call filter: the server can neither type into a terminal (`noTyping`) nor make or join namespaces. Needs
// no_new_privs or CAP_SYS_ADMIN. Ends the process if it cannot. If nothing is to be refused, there is no filter.
void restrictCalls(bool noTyping, bool noNamespaces);

// Installs the bind filter: each bind(2) from here on is reported on the returned descriptor. Ends the process if it
// cannot. `tracer` is the pid that may look into this process (0: no permission is needed).
UniqueFd reportBinds(uint32_t tracer);

// Runs `command` (ended by nullptr) with its binds reported to the other end of `channel`, or ends the process. `ids`:
// nullptr, or UID:GID[,GROUP…] to run it as.
[[noreturn]] void traceBinds(int channel, const char* ids, const char* const* command);

// Runs `command` (ended by nullptr) to its end, and ends as it did; kills it and all it started when `parent` ends.
[[noreturn]] void endWith(pid_t parent, const char* const* command);

// The bind fallback: answers for the broker at the other end of `channel` once it is gone. Takes ownership of
// `channel`.
[[noreturn]] void keepBinds(int channel);

// Makes an overlay without privilege, as `words` say (ended by nullptr), and sends its user namespace and its mount
// over `channel`; or ends the process.
[[noreturn]] void makeRoot(int channel, const char* const* words);

// The service manager's socket if the server's messages of sd_notify(3) go there. nullptr if there is none, or if the
// unit says that they go to the broker (BERTHD_NOTIFY=broker) and the manager needs none of them for a watchdog.
const char* serversManager(const Plan& plan);

// Execs the plan's program in the plan's environment, or ends the process.
[[noreturn]] void execServer(const Plan& plan, Inherited& inherited);

// Obeys the plan and becomes the server, or ends the process. `keepPrivilege`: it becomes a container manager instead,
// as the user and where it is.
[[noreturn]] void carryOut(const Plan& plan, Reply& reply, Inherited& inherited, Conversation& broker,
                           bool keepPrivilege);

}  // namespace berthd
