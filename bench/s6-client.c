// The client of s6-fdholderd, on libs6's own synchronous calls. One cycle takes the sockets and closes them: with
// `retrieve` by name, one round trip for each; with `getdump` all that the daemon holds, in one round trip.
//
//   s6-client SOCKET store                                       tcp:PORT|udp:PORT…  stores them, named as written
//   s6-client SOCKET retrieve|getdump hold|connect CYCLES WARMUP tcp:PORT|udp:PORT…  times taking them
//   s6-client SOCKET retrieve         crowd        CYCLES WARMUP tcp:PORT|udp:PORT   times CROWD × PIPELINED of one
#define _GNU_SOURCE
#include "common.h"

#include <stdbool.h>
#include <string.h>

#include <s6/fdholder.h>
#include <skalibs/genalloc.h>
#include <skalibs/tai.h>
#include <unistd.h>

static const char *path;
static s6_fdholder_t holder = S6_FDHOLDER_ZERO
static tain deadline;  // never: the benchmark ends this program when it takes too long
static char **names;
static size_t name_count;
static genalloc dump = GENALLOC_ZERO;
static size_t (*take)(int *fds);

static void start(void) {
  if (!s6_fdholder_start_g(&holder, path, &deadline)) die_errno("connect to s6-fdholderd at %s", path);
}

static size_t retrieve(int *fds) {
  for (size_t i = 0; i < name_count; i++) {
    fds[i] = s6_fdholder_retrieve_g(&holder, names[i], &deadline);
    if (fds[i] < 0) die_errno("retrieve %s from s6-fdholderd", names[i]);
  }
  return name_count;
}

static size_t getdump(int *fds) {
  genalloc_setlen(s6_fdholder_fd_t, &dump, 0);
  if (!s6_fdholder_getdump_g(&holder, &dump, &deadline)) die_errno("getdump from s6-fdholderd");
  size_t count = genalloc_len(s6_fdholder_fd_t, &dump);
  if (count > MAX_SOCKETS) die("more than %d descriptors came", MAX_SOCKETS);
  for (size_t i = 0; i < count; i++) fds[i] = genalloc_s(s6_fdholder_fd_t, &dump)[i].fd;
  return count;
}

static void acquire(void) {
  int fds[MAX_SOCKETS];
  size_t count = take(fds);
  if (count != name_count) die("%zu descriptors came instead of %zu", count, name_count);
  close_all(fds, count);
}

static void connect_and_acquire(void) {
  start();
  acquire();
  s6_fdholder_end(&holder);
}

static s6_fdholder_t crowd[CROWD];

static void open_crowd(void) {
  for (int i = 0; i < CROWD; i++) {
    if (!s6_fdholder_start_g(&crowd[i], path, &deadline)) die_errno("connect to s6-fdholderd at %s", path);
  }
}

static int taken;

// A handler gets each answer that has come, one after the other.
static int close_taken(unixmessage const *message, void *unused) {
  s6_fdholder_retrieve_result_t result = {.fd = -1};
  (void)unused;
  if (!s6_fdholder_retrieve_cb(message, &result) || result.err != 0 || result.fd < 0)
    die("s6-fdholderd refused %s: error %d", names[0], result.err);
  close(result.fd);
  taken++;
  return 1;
}

// As s6_fdholder_retrieve_g(), but every request is sent before the first answer is read.
static void acquire_in_crowd(void) {
  for (int i = 0; i < CROWD; i++) {
    for (int j = 0; j < PIPELINED; j++) {
      if (!s6_fdholder_retrieve_maybe_delete_async(&crowd[i], names[0], 0)) die_errno("ask s6-fdholderd");
    }
    if (!unixmessage_sender_timed_flush_g(&crowd[i].connection.out, &deadline)) die_errno("write to s6-fdholderd");
  }
  for (int i = 0; i < CROWD; i++) {
    for (taken = 0; taken < PIPELINED;) {
      if (unixmessage_timed_handle_g(&crowd[i].connection.in, &close_taken, NULL, &deadline) <= 0)
        die_errno("read from s6-fdholderd");
    }
  }
}

static void store(void) {
  for (size_t i = 0; i < name_count; i++) {
    if (!s6_fdholder_store_g(&holder, open_socket(names[i]), names[i], &deadline, &deadline))
      die_errno("store %s in s6-fdholderd", names[i]);
  }
}

static void verify(void) {
  int fds[MAX_SOCKETS];
  size_t count = take(fds);
  if (count != name_count) die("%zu descriptors came instead of %zu", count, name_count);
  verify_sockets(fds, count, names);
  close_all(fds, count);
}

int main(int argc, char **argv) {
  bool timed = argc > 2 && strcmp(argv[2], "store") != 0;
  int first = timed ? 6 : 3;
  if (argc <= first || argc - first > MAX_SOCKETS)
    die("usage: s6-client SOCKET store|retrieve|getdump [hold|connect CYCLES WARMUP] tcp:PORT|udp:PORT…");
  path = argv[1];
  names = argv + first;
  name_count = (size_t)(argc - first);
  tain_now_set_stopwatch_g();
  tain_add_g(&deadline, &tain_infinite_relative);

  start();
  if (!timed) {
    store();
    return 0;
  }
  if (strcmp(argv[2], "retrieve") != 0 && strcmp(argv[2], "getdump") != 0)
    die("\"%s\" is not store, retrieve or getdump", argv[2]);
  take = strcmp(argv[2], "getdump") == 0 ? getdump : retrieve;
  verify();
  if (strcmp(argv[3], "hold") == 0) {
    measure(acquire, parse_count(argv[4]), parse_count(argv[5]));
  } else if (strcmp(argv[3], "connect") == 0) {
    s6_fdholder_end(&holder);
    measure(connect_and_acquire, parse_count(argv[4]), parse_count(argv[5]));
  } else if (strcmp(argv[3], "crowd") == 0) {
    if (name_count != 1) die("a crowd takes one socket");
    open_crowd();
    measure(acquire_in_crowd, parse_count(argv[4]), parse_count(argv[5]));
  } else {
    die("\"%s\" is not hold, connect or crowd", argv[3]);
  }
  return 0;
}
