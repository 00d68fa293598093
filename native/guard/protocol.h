// What the broker and its guard say to each other, on UNIX seqpacket sockets: one message, one request or reply. All
// integers are int32_t in the machine's own order, for both ends run on one machine. src/broker/guard/protocol.ts is
// the other end.
#pragma once
#include <stdint.h>

namespace berthd {

// The first integer of a request. The second is its number, which the reply begins with.
enum Request : int32_t {
  // To the zygote: [kFork, id, role], and the worker's end of its channel. Reply: [id, pid or -errno], with a pidfd.
  kFork = 1,
  // To a worker: [kReceive, id, mode, most], and a connection. Reads one message from it. Reply: [id, size or -errno,
  // flags, pid, uid, gid, count, verdict × count], the bytes; descriptors that passed, then the sender's pidfd. Once
  // the others are closed, a second reply: [id, kFinished].
  kReceive = 2,
  // [kHold, id] and descriptors: keeps them until kDrop. No reply.
  kHold = 3,
  // [kDrop, id]: closes everything held. Reply: [id, how many].
  kDrop = 4,
  // [kRun, id], calls, and the descriptors that they are about. Reply: [id, how many], results.
  kRun = 5,
  // [kForget, id, number × n], a socket, and pairs of an epoll's fdinfo (proc(5)) and the epoll: deletes what each
  // epoll has of the socket under those numbers. Reply: [id, how many]. The descriptors stay open until kDrop.
  kForget = 6,
  // [kCarry, id], a socket, the one that it replaces, and such pairs: what each epoll has of the old socket, it has of
  // the new one from now on. Reply: [id, how many, how many failed, the errno of the first]. The descriptors stay open
  // until kDrop.
  kCarry = 7,
  // To the keeper: [kKeep, 0, place × n], and n descriptors: has them in these places until kLeave. No reply.
  kKeep = 8,
  // [kLeave, id, place × n]: closes what is there, in another process. Reply: [id, 0] when all are closed; before it
  // [id, 1] when that takes long. Or [id, -errno]: nothing was done.
  kLeave = 9,
};

// What the zygote forks.
enum Role : int32_t {
  kWorker = 0,
  kNetAdminWorker = 1,  // keeps CAP_NET_ADMIN and CAP_NET_RAW
  kKeeper = 2,
};

// The keeper has so many places.
constexpr int32_t kPlaces = 1 << 20;

// The second reply to kReceive. No size is as small.
constexpr int32_t kFinished = INT32_MIN;

// How kReceive reads.
enum Mode : int32_t {
  kFrame = 0,     // a stream, up to the first NUL
  kDatagram = 1,  // a datagram, with who sent it
  kBytes = 2,     // a datagram without its descriptors: the kernel drops them
};

// What a worker thinks of a descriptor: kPasses, or why it does not.
enum Verdict : int32_t {
  kPasses = 0,
  kIsPath = 1,        // O_PATH
  kIsOther = 2,       // no socket, pipe, file, memfd or seccomp listener
  kIsUnknown = 3,     // statx(2) fails
  kMayNotAnswer = 4,  // a file of FUSE, of the network, or of a file system that is not known
  kIsTooMany = 5,     // more than `most` came
};

// A call of kRun: [call, index of the descriptor, a, b, length], and so many bytes, padded to a multiple of four.
// A result: [what it returned or -errno, length], and so many bytes, padded.
enum Call : int32_t {
  kGetsockopt = 1,   // a: level, b: option, length: room; the bytes are not looked at
  kSetsockopt = 2,   // a: level, b: option, bytes: value
  kGetsockname = 3,
  kGetpeername = 4,
  kBind = 5,         // bytes: address
  kConnect = 6,      // bytes: address
  kListen = 7,       // a: backlog
  kShutdown = 8,     // a: how
  kPoll = 9,         // a: events; does not wait. Returns revents
  kGetfl = 10,
  kSetfl = 11,       // a: flags
  kDrain = 12,       // takes what waits, connections or messages, and drops it. Returns how many
  kGetword = 13,     // as kGetsockopt; returns the last integer that there is room for, and no bytes
  // bytes: [length], so many bytes of results that are expected, calls. Carries these out on the one descriptor, until
  // the end. Returns 1 and no bytes if the results are those, else 0 and the results. None of the calls is a kBatch.
  kBatch = 14,
  // The filter of the socket (SO_GET_FILTER): its instructions, struct sock_filter. Returns how many.
  kGetfilter = 15,
  kSetfilter = 16,  // bytes: instructions (SO_ATTACH_FILTER)
};

}  // namespace berthd
