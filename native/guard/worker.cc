// A worker: receives, closes and asks for one user of the broker. If one of that user's descriptors makes it wait, the
// broker kills it, or leaves it behind, and nobody else waits.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/rights.h"
#include "common/socket-calls.h"
#include "guard.h"

namespace berthd {
namespace {

// Linux 6.5; the headers may be older.
constexpr int kScmPidfd = 4;
constexpr size_t kSenderSpace = CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int));

constexpr size_t kHead = 2 * sizeof(int32_t);
constexpr size_t kRoom = 64 * 1024;
// A reply to kReceive: seven integers and a verdict for each descriptor before the bytes.
constexpr size_t kBefore = (7 + kMaxFds) * sizeof(int32_t);

// A closing socket waits at most so long for its peer (SO_LINGER, socket(7)): a signal ends that wait.
constexpr suseconds_t kLingerMicroseconds = 10 * 1000;

// Static, for a worker allocates nothing.
alignas(8) uint8_t request[kRoom];
alignas(8) uint8_t reply[kBefore + kRoom];
UniqueFd came[kMaxFds];
UniqueFd held[kMaxFds];
size_t heldCount = 0;

void setTimer(suseconds_t microseconds) {
  const itimerval timer = {{0, microseconds}, {0, microseconds}};
  setitimer(ITIMER_REAL, &timer, nullptr);
}

// Runs what may close a foreign descriptor for the last time.
template <typename Work>
void interruptibly(Work work) {
  setTimer(kLingerMicroseconds);
  work();
  setTimer(0);
}

// Closes the descriptors that came with the request.
void closeAll(size_t count) {
  bool isOpen = false;
  for (size_t i = 0; i < count; i++) isOpen = isOpen || came[i].valid();
  if (!isOpen) return;
  interruptibly([&] {
    for (size_t i = 0; i < count; i++) came[i].reset();
  });
}

void sendReply(int channel, size_t size, const int* fds, size_t count) {
  iovec part = {reply, size};
  msghdr message = messageOf(part);
  ControlBuffer<> control;
  if (count > 0) attachFds(message, control, fds, count);
  retryOnEintr([&] { return sendmsg(channel, &message, MSG_NOSIGNAL); });
}

void put(size_t index, int32_t value) { memcpy(reply + index * sizeof value, &value, sizeof value); }

struct Received {
  ssize_t size = 0;
  int32_t flags = 0;
  int32_t sender[3] = {0, -1, -1};
  UniqueFd fds[kMaxFds];
  size_t count = 0;
  UniqueFd pidfd;
};

void takeSender(cmsghdr& header, Received& into) {
  if (header.cmsg_type == SCM_CREDENTIALS) {
    ucred credentials;
    memcpy(&credentials, CMSG_DATA(&header), sizeof credentials);
    into.sender[0] = credentials.pid;
    into.sender[1] = static_cast<int32_t>(credentials.uid);
    into.sender[2] = static_cast<int32_t>(credentials.gid);
  } else if (header.cmsg_type == kScmPidfd) {
    int number;
    memcpy(&number, CMSG_DATA(&header), sizeof number);
    into.pidfd.reset(number);
  }
}

// With MSG_CTRUNC all are dropped: which ones are missing is unknown.
void receive(int socket, Mode mode, Received& into) {
  iovec part = {reply + kBefore, kRoom};
  if (mode == kFrame) {
    const ssize_t size = retryOnEintr([&] { return recv(socket, part.iov_base, part.iov_len, MSG_PEEK | MSG_DONTWAIT); });
    if (size <= 0) {
      into.size = size < 0 ? -errno : 0;
      return;
    }
    auto* start = static_cast<char*>(part.iov_base);
    auto* end = static_cast<char*>(memchr(start, 0, static_cast<size_t>(size)));
    part.iov_len = end == nullptr ? static_cast<size_t>(size) : static_cast<size_t>(end - start) + 1;
  }
  msghdr message = messageOf(part);
  ControlBuffer<kSenderSpace> control;
  if (mode == kBytes) {
    // Room for the sender's credentials, which come first, and for nothing else.
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(ucred));
    into.size = retryOnEintr([&] { return recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT); });
  } else {
    into.size = receiveMessage(socket, message, control);
  }
  if (into.size < 0) {
    into.size = -errno;
    return;
  }
  into.flags = message.msg_flags;
  const bool isComplete = takeFds(message, [&](UniqueFd fd) {
    if (into.count < kMaxFds) into.fds[into.count++] = static_cast<UniqueFd&&>(fd);
  });
  forEachControl(message, [&](cmsghdr& header) { takeSender(header, into); });
  if (isComplete || mode == kBytes) return;
  for (size_t i = 0; i < into.count; i++) into.fds[i].reset();
  into.count = 0;
  into.size = -EMSGSIZE;
}

void onReceive(int channel, int32_t id, const Sorter& sorter, size_t requestSize) {
  int32_t parameters[2];
  if (requestSize < kHead + sizeof parameters || !came[0].valid()) return;
  memcpy(parameters, request + kHead, sizeof parameters);
  Received received;
  interruptibly([&] { receive(came[0].get(), static_cast<Mode>(parameters[0]), received); });
  const bool tooMany = received.count > static_cast<size_t>(parameters[1] < 0 ? 0 : parameters[1]);
  int passing[kMaxFds + 1];
  size_t passed = 0;
  put(0, id);
  put(1, static_cast<int32_t>(received.size));
  put(2, received.flags);
  for (size_t i = 0; i < 3; i++) put(3 + i, received.sender[i]);
  put(6, static_cast<int32_t>(received.count));
  for (size_t i = 0; i < received.count; i++) {
    const Verdict verdict = tooMany ? kIsTooMany : sorter.look(received.fds[i].get());
    put(7 + i, verdict);
    if (verdict == kPasses) passing[passed++] = received.fds[i].get();
  }
  // One message has room for kMaxFds: the sender is told of before the last descriptor of a full one.
  if (received.pidfd.valid() && passed < kMaxFds) passing[passed++] = received.pidfd.get();
  const size_t before = (7 + received.count) * sizeof(int32_t);
  const size_t size = received.size < 0 ? 0 : static_cast<size_t>(received.size);
  memmove(reply + before, reply + kBefore, size < kRoom ? size : kRoom);
  sendReply(channel, before + size, passing, passed);
  // The broker has its own now. What is closed here for the last time was not let through.
  interruptibly([&] {
    for (size_t i = 0; i < received.count; i++) received.fds[i].reset();
    came[0].reset();
  });
  put(0, id);
  put(1, kFinished);
  sendReply(channel, kHead, nullptr, 0);
}

void onHold(size_t count) {
  for (size_t i = 0; i < count && heldCount < kMaxFds; i++) held[heldCount++] = static_cast<UniqueFd&&>(came[i]);
}

void onDrop(int channel, int32_t id) {
  interruptibly([] {
    for (size_t i = 0; i < heldCount; i++) held[i].reset();
  });
  put(0, id);
  put(1, static_cast<int32_t>(heldCount));
  heldCount = 0;
  sendReply(channel, kHead, nullptr, 0);
}

void onRun(int channel, int32_t id, size_t requestSize, size_t count) {
  const long written = runCalls(request + kHead, requestSize - kHead, came, count, reply + kHead, sizeof reply - kHead);
  put(0, id);
  put(1, written < 0 ? -EINVAL : 0);
  // Before the reply: the broker may close its own now, and bind another socket to the address.
  closeAll(count);
  sendReply(channel, kHead + (written < 0 ? 0 : static_cast<size_t>(written)), nullptr, 0);
}

void onForget(int channel, int32_t id, size_t requestSize, size_t count) {
  const auto* numbers = reinterpret_cast<const int32_t*>(request + kHead);
  put(0, id);
  put(1, forgetRegistrations(came, count, numbers, (requestSize - kHead) / sizeof(int32_t)));
  sendReply(channel, kHead, nullptr, 0);
  onHold(count);
}

void onCarry(int channel, int32_t id, size_t count) {
  const Carried carried = carryRegistrations(came, count);
  put(0, id);
  put(1, carried.count);
  put(2, carried.failed);
  put(3, carried.error);
  sendReply(channel, 4 * sizeof(int32_t), nullptr, 0);
  onHold(count);
}

// Returns false when the broker has closed the channel.
bool serveOne(int channel, const Sorter& sorter) {
  iovec part = {request, sizeof request};
  msghdr message = messageOf(part);
  ControlBuffer<> control;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const ssize_t size = retryOnEintr([&] { return recvmsg(channel, &message, MSG_CMSG_CLOEXEC); });
  if (size <= 0) return false;
  size_t count = 0;
  takeFds(message, [&](UniqueFd fd) {
    if (count < kMaxFds) came[count++] = static_cast<UniqueFd&&>(fd);
  });
  int32_t head[2];
  if (static_cast<size_t>(size) < kHead) return false;
  memcpy(head, request, sizeof head);
  if (head[0] == kReceive) onReceive(channel, head[1], sorter, static_cast<size_t>(size));
  if (head[0] == kHold) onHold(count);
  if (head[0] == kDrop) onDrop(channel, head[1]);
  if (head[0] == kForget) onForget(channel, head[1], static_cast<size_t>(size), count);
  if (head[0] == kCarry) onCarry(channel, head[1], count);
  if (head[0] == kRun) onRun(channel, head[1], static_cast<size_t>(size), count);
  closeAll(count);
  return true;
}

}  // namespace

void serveWorker(int channel, bool keepNetAdmin) {
  struct sigaction nothing = {};
  nothing.sa_handler = [](int) {};
  sigaction(SIGALRM, &nothing, nullptr);
  Sorter sorter;
  if (!sorter.open() || !confine(keepNetAdmin)) return;
  while (serveOne(channel, sorter)) continue;
}

}  // namespace berthd
