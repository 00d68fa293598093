// The keeper: has a copy of each descriptor that the broker shares with tenants, so that the broker never closes one
// for the last time: close(2) may wait for ever then. So the keeper gives what is to be closed to a process of its own,
// the leaf, before it closes its copy. When the broker has ended, it closes everything, and ends.
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/rights.h"
#include "guard.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

namespace berthd {
namespace {

constexpr size_t kHead = 2 * sizeof(int32_t);
constexpr size_t kMostLeaves = 64;

// Of each place one more than its descriptor, so that 0 is none: pages that are never touched cost nothing.
int places[kPlaces];
int32_t used = 0;

int takeFrom(int32_t place) {
  const int fd = places[place] - 1;
  places[place] = 0;
  return fd;
}

struct Leaf {
  int32_t id = 0;
  UniqueFd pipe;  // closed by the leaf when it ends
};

Leaf leaves[kMostLeaves];

void answer(int channel, int32_t id, int32_t value) {
  int32_t words[2] = {id, value};
  iovec part = {words, sizeof words};
  const msghdr message = messageOf(part);
  retryOnEintr([&] { return sendmsg(channel, &message, MSG_NOSIGNAL); });
}

bool sendByte(int socket) {
  char byte = 0;
  iovec part = {&byte, 1};
  const msghdr message = messageOf(part);
  return retryOnEintr([&] { return sendmsg(socket, &message, MSG_NOSIGNAL); }) == 1;
}

// False at the end.
bool receiveByte(int socket) {
  char byte;
  iovec part = {&byte, 1};
  msghdr message = messageOf(part);
  return retryOnEintr([&] { return recvmsg(socket, &message, 0); }) == 1;
}

void closeBetween(int from, int to) {
  if (from <= to) syscall(SYS_close_range, from, to, 0);
}

// Closes all but these; nothing for the last time, for the keeper has them all.
void closeOthers(const int32_t* taken, size_t count, int pipe) {
  int kept[kMaxFds + 1] = {pipe};
  size_t length = 1;
  for (size_t i = 0; i < count; i++) {
    const int fd = places[taken[i]] - 1;
    size_t at = length++;
    for (; at > 0 && kept[at - 1] > fd; at--) kept[at] = kept[at - 1];
    kept[at] = fd;
  }
  int from = 0;
  for (size_t i = 0; i < length; from = kept[i++] + 1) closeBetween(from, kept[i] - 1);
  syscall(SYS_close_range, from, ~0U, 0);
}

[[noreturn]] void becomeLeaf(const int32_t* taken, size_t count, UniqueFd pipe) {
  closeOthers(taken, count, pipe.get());
  int own[kMaxFds];
  for (size_t i = 0; i < count; i++) own[i] = takeFrom(taken[i]);
  sendByte(pipe.get());
  receiveByte(pipe.get());  // the keeper has closed its copies, or has ended
  int end = pipe.get();
  closeApart(own, count, [](void* number) { return sendByte(*static_cast<int*>(number)); }, &end);
  while (waitpid(-1, nullptr, 0) > 0) continue;
  _exit(0);
}

// 0, or -errno: nothing is done then.
int32_t leave(int32_t id, const int32_t* taken, size_t count) {
  Leaf* leaf = nullptr;
  for (Leaf& one : leaves)
    if (!one.pipe.valid()) leaf = &one;
  if (leaf == nullptr) return -EAGAIN;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return -errno;
  UniqueFd ours(ends[0]), theirs(ends[1]);
  const long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) becomeLeaf(taken, count, static_cast<UniqueFd&&>(theirs));
  if (pid < 0) return -errno;
  theirs.reset();
  if (!receiveByte(ours.get())) return -ECHILD;
  for (size_t i = 0; i < count; i++) close(takeFrom(taken[i]));
  sendByte(ours.get());
  leaf->id = id;
  leaf->pipe = static_cast<UniqueFd&&>(ours);
  return 0;
}

bool arePlaces(const int32_t* numbers, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (numbers[i] < 0 || numbers[i] >= kPlaces) return false;
  return count <= kMaxFds;
}

// Only those that are there, and each once.
size_t present(int32_t* numbers, size_t count) {
  size_t kept = 0;
  for (size_t i = 0; i < count; i++) {
    bool isNew = places[numbers[i]] != 0;
    for (size_t j = 0; j < kept; j++)
      if (numbers[j] == numbers[i]) isNew = false;
    if (isNew) numbers[kept++] = numbers[i];
  }
  return kept;
}

// Returns false when the broker has ended.
bool serveOne(int channel) {
  int32_t words[2 + kMaxFds];
  iovec part = {words, sizeof words};
  msghdr message = messageOf(part);
  ControlBuffer<> control;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const ssize_t size = retryOnEintr([&] { return recvmsg(channel, &message, MSG_CMSG_CLOEXEC); });
  if (size <= 0) return false;
  UniqueFd came[kMaxFds];
  size_t count = 0;
  takeFds(message, [&](UniqueFd fd) {
    if (count < kMaxFds) came[count++] = static_cast<UniqueFd&&>(fd);
  });
  if (static_cast<size_t>(size) < kHead) return true;
  int32_t* const numbers = words + 2;
  const size_t length = (static_cast<size_t>(size) - kHead) / sizeof(int32_t);
  if (!arePlaces(numbers, length)) return true;
  // The broker has what came too: to close one here is not the last time.
  if (words[0] == kKeep && length == count) {
    for (size_t i = 0; i < count; i++) {
      if (places[numbers[i]] != 0) continue;
      places[numbers[i]] = came[i].release() + 1;
      if (numbers[i] >= used) used = numbers[i] + 1;
    }
  }
  if (words[0] == kLeave) {
    const size_t there = present(numbers, length);
    const int32_t outcome = there == 0 ? 0 : leave(words[1], numbers, there);
    if (there == 0 || outcome < 0) answer(channel, words[1], outcome);
  }
  return true;
}

void hearLeaf(int channel, Leaf& leaf) {
  if (receiveByte(leaf.pipe.get())) return answer(channel, leaf.id, 1);
  leaf.pipe.reset();
  answer(channel, leaf.id, 0);
}

void closeEverything() {
  size_t count = 0;
  for (int32_t i = 0; i < used; i++)
    if (places[i] != 0) places[count++] = takeFrom(i);
  // Who closes those that wait goes on without this process.
  if (count > 0) closeApart(places, count, [](void*) { return false; }, nullptr);
}

// What comes to every process of the unit is not for this one: it ends with the broker.
void ignoreSignals() {
  constexpr int kIgnored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
  for (const int number : kIgnored) signal(number, SIG_IGN);
  struct sigaction nothing = {};
  nothing.sa_handler = [](int) {};
  sigaction(SIGALRM, &nothing, nullptr);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, nullptr);
}

}  // namespace

void serveKeeper(int channel) {
  dup2(STDIN_FILENO, STDERR_FILENO);  // not the broker's: who reads that waits for its end
  ignoreSignals();
  if (!confineKeeper()) return;
  for (;;) {
    while (waitpid(-1, nullptr, WNOHANG) > 0) continue;
    pollfd watched[1 + kMostLeaves] = {{channel, POLLIN, 0}};
    Leaf* whose[1 + kMostLeaves];
    nfds_t count = 1;
    // Those that there are: more than RLIMIT_NOFILE may not be watched at once (poll(2): EINVAL).
    for (Leaf& leaf : leaves) {
      if (!leaf.pipe.valid()) continue;
      whose[count] = &leaf;
      watched[count++] = {leaf.pipe.get(), POLLIN, 0};
    }
    if (poll(watched, count, -1) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    for (nfds_t i = 1; i < count; i++)
      if (watched[i].revents != 0) hearLeaf(channel, *whose[i]);
    if (watched[0].revents != 0 && !serveOne(channel)) break;
  }
  closeEverything();
  // Those that still close have the same table: this closes it for them too, and tells the broker, if it waits.
  close(channel);
}

}  // namespace berthd
