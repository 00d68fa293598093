// What the benchmark's C programs share: loopback sockets to hand over, the check that what arrived are those very
// sockets, and the timed loop. Never talks to a server.
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stddef.h>
#include <stdint.h>

// The most descriptors any case passes in one message.
#define MAX_SOCKETS 16

// Of the operation "crowd": connections at once, and the calls that each sends before it reads a reply.
#define CROWD 8
#define PIPELINED 100

// Prints one sentence on stderr and exits 1.
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
// The same, with what errno says at the end.
_Noreturn void die_errno(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Reads a count; dies unless `text` is a positive whole number.
size_t parse_count(const char *text);

// A socket on 127.0.0.1, written "tcp:PORT" (listening) or "udp:PORT" (bound).
int open_socket(const char *text);

// A bound socket on 127.0.0.1, written the same way; one of TCP does not listen. `prepare` is called before bind.
int bind_socket(const char *text, void (*prepare)(int fd));

// Dies unless `fds` are exactly the sockets that `wanted` names, each once, in any order.
void verify_sockets(const int *fds, size_t count, char *const *wanted);

void close_all(const int *fds, size_t count);

// Nanoseconds of CLOCK_MONOTONIC that one cycle takes.
uint64_t time_of(void (*cycle)(void));

// CLOCK_MONOTONIC in nanoseconds.
uint64_t now(void);

// Sorts `times`, the shortest first. Then percentile() finds one in them, by nearest rank.
void sort_times(uint64_t *times, size_t count);
uint64_t percentile(const uint64_t *sorted, size_t count, size_t percent);

// Runs `cycle` `warmup` times untimed, then `cycles` times with CLOCK_MONOTONIC around each, and prints one line of
// JSON: cycles, p50 and p99 in nanoseconds (nearest rank), rate in cycles per second of the whole loop, and when that
// ended, in nanoseconds of CLOCK_MONOTONIC. With $BENCH_GATE, it waits there before the timed loop.
void measure(void (*cycle)(void), size_t cycles, size_t warmup);

// The same with `before` called untimed before each cycle.
void measure_after(void (*before)(void), void (*cycle)(void), size_t cycles, size_t warmup);

// The same with a pause of `pause` microseconds, untimed, before each cycle. The rate is of the whole loop all the
// same.
void measure_paced(void (*cycle)(void), size_t cycles, size_t warmup, unsigned pause);

#endif
