// Calls the broker: connects, calls Launch, receives the reply and its descriptors. Of the JSON it reads only whether
// the call succeeded, and the message of an error.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include "launch.h"

namespace berthd {
namespace {

constexpr char kSystemSocket[] = "/run/berthd/io.berthd.Broker";
constexpr char kUserFolder[] = "/run/user/";
constexpr char kUserSocket[] = "berthd/io.berthd.Broker";
constexpr size_t kReplyMax = 1 << 20;
constexpr size_t kCallMax = 1 << 20;  // LARGE_CALL in src/broker/access/limits/limits.ts

int64_t nowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

// Returns 0 or errno. A full backlog blocks, as long as SO_SNDTIMEO lets it (socket(7)).
int tryConnect(Conversation& broker, const char* path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t length = strlen(path);
  if (length == 0 || length >= sizeof address.sun_path) {
    fail(kUsage, "the socket path \"%s\" must have 1 to %zu bytes; give a shorter one with --socket", path,
         sizeof address.sun_path - 1);
  }
  memcpy(address.sun_path, path, length);
  socklen_t size = sizeof address;
  if (path[0] == '@') {
    address.sun_path[0] = '\0';
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  }
  broker.path.shrink(0);
  broker.path.append(path);
  broker.fd.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (broker.fd.get() < 0) return errno;
  // Before it connects: from then on each message says who sent it.
  const int on = 1;
  if (setsockopt(broker.fd.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) return errno;
  for (;;) {
    const int left = broker.left("accept the connection");
    const timeval patience = {left / 1000, left % 1000 * 1000};
    if (setsockopt(broker.fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0) return errno;
    if (connect(broker.fd.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0) return 0;
    if (errno != EINTR && errno != EAGAIN) return errno;
  }
}

// The same places in the same order as socketPaths() in src/net/socket-path.ts: a user's own broker goes first.
int connectDefault(Conversation& broker) {
  const char* const runtime = getenv("XDG_RUNTIME_DIR");
  if (geteuid() != 0 && runtime != nullptr && runtime[0] == '/') {
    Text path;
    path.append(runtime);
    path.append("/");
    path.append(kUserSocket);
    if (tryConnect(broker, path.string()) == 0) return 0;
  }
  return tryConnect(broker, kSystemSocket);
}

void connectBroker(Conversation& broker, const char* socket) {
  if (socket == nullptr) socket = getenv("BERTHD_SOCKET");
  if (socket != nullptr && socket[0] == '\0') socket = nullptr;
  const int error = socket != nullptr ? tryConnect(broker, socket) : connectDefault(broker);
  if (error == 0) return;
  const char* const remedy = error == ENOENT || error == ECONNREFUSED
                                 ? "start berthd, or give its socket with --socket or BERTHD_SOCKET"
                             : error == EACCES || error == EPERM
                                 ? "ask for access to that socket, or give another with --socket or BERTHD_SOCKET"
                                 : "check that path, or give another with --socket or BERTHD_SOCKET";
  fail(kSystem, "cannot connect to the broker at %s: %s; %s", broker.path.string(), strerror(error), remedy);
}

// Root obeys only root, and every other user only root and itself. Another user could make the launcher run any
// program.
void requireUser(Conversation& broker, const char* does, uid_t uid) {
  const uid_t own = geteuid();
  if (uid == 0 || uid == own) return;
  if (own == 0) {
    fail(kSystem, "the broker at %s %s uid %u, and root uses only a broker of root; give that one's socket with "
         "--socket, or start berth-launch as that user",
         broker.path.string(), does, uid);
  }
  fail(kSystem,
       "the broker at %s %s uid %u, and uid %u uses only its own broker or root's; give the socket of one with --socket",
       broker.path.string(), does, uid, own);
}

// Before anything is sent. SO_PEERCRED has the user that called listen(2): another process may have got the socket
// since, so receiveReply also finds out who answers.
void checkBroker(Conversation& broker) {
  ucred credentials = {};
  socklen_t size = sizeof credentials;
  if (getsockopt(broker.fd.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    fail(kSystem, "cannot read which user runs the broker at %s: %m", broker.path.string());
  }
  requireUser(broker, "runs as", credentials.uid);
}

void appendArgument(Text& call, const char* what, const char* text, size_t length) {
  if (!call.appendJson(text, length)) {
    fail(kUsage, "%s is not valid UTF-8, so it cannot be sent to the broker; write it in UTF-8", what);
  }
}

void writeCall(const Request& request, Text& call) {
  call.append("{\"method\":\"io.berthd.Broker.Launch\",\"parameters\":{\"berth\":");
  appendArgument(call, "the berth's name", request.berth, strlen(request.berth));
  for (size_t i = 0; i < request.command.size(); i++) {
    char what[64];
    snprintf(what, sizeof what, i == 0 ? "the command" : "argument %zu of the command", i);
    call.append(i == 0 ? ",\"command\":[" : ",");
    appendArgument(call, what, request.command[i], strlen(request.command[i]));
  }
  if (request.command.size() > 0) call.append("]");
  for (size_t i = 0; i < request.environment.size(); i++) {
    const char* const entry = request.environment[i];
    const char* const equals = strchr(entry, '=');
    call.append(i == 0 ? ",\"environment\":{" : ",");
    appendArgument(call, "a variable's name in --setenv", entry, static_cast<size_t>(equals - entry));
    call.append(":");
    appendArgument(call, "a variable's value in --setenv", equals + 1, strlen(equals + 1));
  }
  if (request.environment.size() > 0) call.append("}");
  if (request.replace != nullptr) {
    call.append(",\"replace\":");
    call.appendJson(request.replace);
  }
  call.append("}}");
  call.push('\0');
  if (call.size() > kCallMax) {
    fail(kUsage,
         "the command and the variables of --setenv take %zu bytes, and a call has room for %zu; shorten them, or write "
         "them into a file that the server reads",
         call.size(), kCallMax);
  }
}

void sendCall(Conversation& broker, const Text& call, int fd) {
  ControlBuffer<> room;
  for (size_t sent = 0; sent < call.size();) {
    broker.await(POLLOUT, "take the call");
    iovec part = {const_cast<char*>(call.data()) + sent, call.size() - sent};
    msghdr message = messageOf(part);
    if (sent == 0 && fd >= 0) attachFds(message, room, &fd, 1);
    const ssize_t n = sendmsg(broker.fd.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) sent += static_cast<size_t>(n);
    // The broker closed the connection, perhaps after an error reply: read it.
    else if (errno == EPIPE || errno == ECONNRESET) return;
    else if (errno != EAGAIN && errno != EINTR)
      fail(kSystem, "cannot send to the broker at %s: %m; see the broker's log", broker.path.string());
  }
}

// Owns every descriptor before it checks anything (hazards 3 and 4).
void takeDescriptors(Conversation& broker, msghdr& message, Reply& reply) {
  bool tooMany = false;
  const bool isComplete = takeFds(message, [&](UniqueFd fd) {
    if (reply.count < kMaxFds) reply.fds[reply.count++] = static_cast<UniqueFd&&>(fd);
    else tooMany = true;
  });
  if (!isComplete) {
    rlimit limit = {};
    getrlimit(RLIMIT_NOFILE, &limit);
    fail(kSystem,
         "cannot receive all descriptors from the broker at %s: this process may open %llu files; "
         "raise the limit with ulimit -n 4096 or LimitNOFILE=4096",
         broker.path.string(), static_cast<unsigned long long>(limit.rlim_cur));
  }
  if (tooMany)
    fail(kSystem, "the broker at %s sent more than %zu descriptors; check that it is berthd", broker.path.string(),
         kMaxFds);
}

// Notes who sent this part of the reply, as the kernel says (SCM_CREDENTIALS). Only root can claim another user.
void takeSender(Conversation& broker, msghdr& message, Reply& reply) {
  bool isKnown = false;
  ucred sender = {};
  forEachControl(message, [&](cmsghdr& header) {
    if (header.cmsg_type != SCM_CREDENTIALS || header.cmsg_len != CMSG_LEN(sizeof sender)) return;
    memcpy(&sender, CMSG_DATA(&header), sizeof sender);
    isKnown = true;
  });
  if (!isKnown || (reply.hasSender && sender.uid != reply.sender)) {
    fail(kSystem, "cannot tell which user sent the answer of the broker at %s; check that it is berthd",
         broker.path.string());
  }
  reply.hasSender = true;
  reply.sender = sender.uid;
}

// Reads up to and including the reply's NUL.
void receiveReply(Conversation& broker, Text& text, Reply& reply) {
  constexpr size_t kChunk = 16384;
  for (;;) {
    broker.await(POLLIN, "answer");
    ControlBuffer<CMSG_SPACE(sizeof(ucred))> control;
    const size_t start = text.size();
    iovec part = {text.grow(kChunk), kChunk};
    msghdr message = messageOf(part);
    const ssize_t n = receiveMessage(broker.fd.get(), message, control);
    text.shrink(start + (n > 0 ? static_cast<size_t>(n) : 0));
    if (n < 0) {
      if (errno == EAGAIN) continue;
      fail(kSystem, "cannot read the answer of the broker at %s: %m; see the broker's log", broker.path.string());
    }
    takeDescriptors(broker, message, reply);
    if (n == 0) {
      fail(kSystem, "the broker at %s closed the connection without an answer; see the broker's log",
           broker.path.string());
    }
    takeSender(broker, message, reply);
    const void* const end = memchr(text.data() + start, '\0', static_cast<size_t>(n));
    if (end != nullptr) {
      if (end == text.end() - 1) return;
      fail(kSystem, "the broker at %s sent more than one answer; check that it is berthd", broker.path.string());
    }
    if (text.size() > kReplyMax) {
      fail(kSystem, "the answer of the broker at %s is longer than %zu bytes; check that it is berthd",
           broker.path.string(), kReplyMax);
    }
  }
}

bool startsWith(const char* text, const char* prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

// berthd writes "error" first in an error reply and "message" last, so nothing has to be parsed here. Quotes in a JSON
// string are escaped, so these patterns cannot occur inside a string.
// Returns false, with the sentence, if the berth has a problem and the request waits for its end.
bool judgeReply(Conversation& broker, const char* reply, const Request& request, Text& sentence) {
  static const char success[] = "{\"parameters\":{";
  static const char error[] = "{\"error\":\"";
  static const char message[] = "\"message\":\"";
  if (strncmp(reply, success, sizeof success - 1) == 0) return true;
  if (strncmp(reply, error, sizeof error - 1) != 0) {
    fail(kSystem, "the answer of the broker at %s is neither a success nor an error; check that it is berthd",
         broker.path.string());
  }
  const char* text = reply + sizeof error - 1;
  for (const char* found = reply; (found = strstr(found, message)) != nullptr; text = found)
    found += sizeof message - 1;
  sentence.shrink(0);
  appendUnescaped(sentence, text);
  const char* const name = reply + sizeof error - 1;
  if (request.waits && startsWith(name, "io.berthd.Broker.BerthHasProblems\"")) return false;
  const bool isAbsent = startsWith(name, "io.berthd.Broker.NoSuchBerth\"") ||
                        startsWith(name, "org.varlink.service.PermissionDenied\"");
  fail(isAbsent ? static_cast<ExitCode>(request.absentStatus) : kRefused, "%s", sentence.string());
}

}  // namespace

int Conversation::left(const char* doing) {
  const int64_t remaining = deadline - nowMs();
  if (remaining <= 0) {
    const bool isUsers = strncmp(path.string(), kUserFolder, sizeof kUserFolder - 1) == 0;
    fail(kSystem, "the broker at %s did not %s within %g s; see its log (journalctl %s-u berthd), or wait longer: "
         "--timeout %g", path.string(), doing, timeout, isUsers ? "--user " : "", 6 * timeout);
  }
  return static_cast<int>(remaining);
}

void Conversation::await(short events, const char* doing) {
  pollfd watched = {fd.get(), events, 0};
  for (;;) {
    const int ready = poll(&watched, 1, left(doing));
    if (ready > 0) return;
    if (ready < 0 && errno != EINTR) fail(kSystem, "cannot wait for the broker at %s: %m", path.string());
  }
}

void offerBinds(Conversation& broker, const char* lease, int notify) {
  Text call;
  call.append("{\"method\":\"io.berthd.Broker.Intercept\",\"parameters\":{\"lease\":");
  call.appendJson(lease);
  call.append("}}");
  call.push('\0');
  sendCall(broker, call, notify);
  // The same broker as before. Who it is cannot be asked again: in the root's user namespace it has no uid.
  Text text, sentence;
  Reply reply;
  receiveReply(broker, text, reply);
  judgeReply(broker, text.data(), Request(), sentence);
}

void askBroker(Conversation& broker, const char* socket, const Request& request, double timeout, Reply& reply) {
  Text call, sentence;
  writeCall(request, call);
  broker.timeout = timeout;
  for (Patience patience;; patience.wait(sentence.string())) {
    broker.deadline = nowMs() + static_cast<int64_t>(timeout * 1000);
    connectBroker(broker, socket);
    checkBroker(broker);
    sendCall(broker, call, -1);
    Text text;
    receiveReply(broker, text, reply);
    requireUser(broker, "answers as", reply.sender);
    if (judgeReply(broker, text.data(), request, sentence)) break;
    broker.fd.reset();
    for (size_t i = 0; i < reply.count; i++) reply.fds[i].reset();
    reply.count = 0;
    reply.hasSender = false;
  }
  if (reply.count == 0) fail(kSystem, "the broker at %s sent no plan; check that it is berthd", broker.path.string());
}

}  // namespace berthd
