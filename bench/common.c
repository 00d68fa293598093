// See common.h.
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

_Noreturn void die(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

_Noreturn void die_errno(const char *format, ...) {
  int error = errno;
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fprintf(stderr, ": %s\n", strerror(error));
  exit(1);
}

size_t parse_count(const char *text) {
  char *end;
  errno = 0;
  unsigned long count = strtoul(text, &end, 10);
  if (errno != 0 || *end != '\0' || count == 0) die("\"%s\" is not a positive whole number", text);
  return count;
}

static int parse_socket(const char *text, struct sockaddr_in *address) {
  if (strncmp(text, "tcp:", 4) != 0 && strncmp(text, "udp:", 4) != 0) die("\"%s\" is not tcp:PORT or udp:PORT", text);
  size_t port = parse_count(text + 4);
  if (port > UINT16_MAX) die("\"%s\": the highest port is %d", text, UINT16_MAX);
  *address = (struct sockaddr_in){
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  return text[0] == 't' ? SOCK_STREAM : SOCK_DGRAM;
}

static int bound_socket(const char *text, int flags, int *type, void (*prepare)(int fd)) {
  struct sockaddr_in address;
  *type = parse_socket(text, &address);
  int fd = socket(AF_INET, *type | SOCK_CLOEXEC | flags, 0);
  if (fd < 0) die_errno("socket for %s", text);
  if (prepare != NULL) prepare(fd);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die_errno("bind to %s", text);
  return fd;
}

int bind_socket(const char *text, void (*prepare)(int fd)) {
  int type;
  return bound_socket(text, 0, &type, prepare);
}

int open_socket(const char *text) {
  int type;
  int fd = bound_socket(text, SOCK_NONBLOCK, &type, NULL);
  if (type == SOCK_STREAM && listen(fd, SOMAXCONN) < 0) die_errno("listen on %s", text);
  return fd;
}

static bool is_socket(int fd, const char *text) {
  struct sockaddr_in wanted, actual;
  int type, wanted_type = parse_socket(text, &wanted);
  socklen_t type_length = sizeof type, length = sizeof actual;
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) &&
         getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_length) == 0 && type == wanted_type &&
         getsockname(fd, (struct sockaddr *)&actual, &length) == 0 && actual.sin_family == AF_INET &&
         actual.sin_port == wanted.sin_port && actual.sin_addr.s_addr == wanted.sin_addr.s_addr;
}

void verify_sockets(const int *fds, size_t count, char *const *wanted) {
  for (size_t i = 0; i < count; i++) {
    size_t found = 0;
    for (size_t j = 0; j < count; j++) found += is_socket(fds[j], wanted[i]);
    if (found != 1) die("%zu of the %zu descriptors received are 127.0.0.1 %s; one should be", found, count, wanted[i]);
  }
}

void close_all(const int *fds, size_t count) {
  for (size_t i = 0; i < count; i++) close(fds[i]);
}

uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

uint64_t time_of(void (*cycle)(void)) {
  uint64_t start = now();
  cycle();
  return now() - start;
}

static int ascending(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return (a > b) - (a < b);
}

void sort_times(uint64_t *times, size_t count) { qsort(times, count, sizeof *times, ascending); }

uint64_t percentile(const uint64_t *sorted, size_t count, size_t percent) {
  return sorted[(count * percent + 99) / 100 - 1];
}

static void nothing(void) {}

void measure(void (*cycle)(void), size_t cycles, size_t warmup) { measure_after(nothing, cycle, cycles, warmup); }

static unsigned pause_length;

static void sleep_a_little(void) { usleep(pause_length); }

void measure_paced(void (*cycle)(void), size_t cycles, size_t warmup, unsigned pause) {
  pause_length = pause;
  measure_after(sleep_a_little, cycle, cycles, warmup);
}

// With $BENCH_GATE, a folder: makes a file "ready-PID" in it, and waits until bench/gate.mjs opens the FIFO "gate"
// there for writing. So several clients begin at once.
static void wait_at_gate(void) {
  const char *folder = getenv("BENCH_GATE");
  if (folder == NULL) return;
  char path[4096];
  snprintf(path, sizeof path, "%s/ready-%d", folder, getpid());
  int ready = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (ready < 0) die_errno("open %s", path);
  close(ready);
  snprintf(path, sizeof path, "%s/gate", folder);
  int gate = open(path, O_RDONLY | O_CLOEXEC);
  if (gate < 0) die_errno("open %s", path);
  close(gate);
}

void measure_after(void (*before)(void), void (*cycle)(void), size_t cycles, size_t warmup) {
  uint64_t *samples = malloc(cycles * sizeof *samples);
  if (samples == NULL) die("there is no memory for %zu samples", cycles);
  memset(samples, 0xff, cycles * sizeof *samples);  // so that no page is touched for the first time in the loop
  for (size_t i = 0; i < warmup; i++) {
    before();
    cycle();
  }
  wait_at_gate();
  uint64_t begin = now();
  for (size_t i = 0; i < cycles; i++) {
    before();
    samples[i] = time_of(cycle);
  }
  uint64_t end = now();
  double seconds = (double)(end - begin) / 1e9;
  sort_times(samples, cycles);
  printf("{\"cycles\":%zu,\"p50\":%llu,\"p99\":%llu,\"rate\":%.0f,\"end\":%llu}\n", cycles,
         (unsigned long long)percentile(samples, cycles, 50), (unsigned long long)percentile(samples, cycles, 99),
         (double)cycles / seconds, (unsigned long long)end);
  free(samples);
}
