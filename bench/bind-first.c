// What binds cost a server that has just started: each of its sockets is bound once, and kept. It knows nothing of
// filters.
//
//   bind-first [set] tcp:PORT|udp:PORT…     on 127.0.0.1; prints {"times":[…]}, nanoseconds of socket and bind of each
//
// With "set", it sets SO_BROADCAST and O_NONBLOCK in between, as many servers set something.
//
// It waits before each bind: a real server also does other things first, and does them between its binds.
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define START_US 50000
#define PAUSE_US 8000

static const char *wanted;
static int last;
static int sets;

static void prepare(int fd) {
  int yes = 1;
  if (!sets) return;
  if (setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes) < 0) die_errno("SO_BROADCAST");
  if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) die_errno("O_NONBLOCK");
}

static void cycle(void) { last = bind_socket(wanted, prepare); }

int main(int argc, char **argv) {
  sets = argc > 1 && strcmp(argv[1], "set") == 0;
  argc -= sets;
  argv += sets;
  if (argc < 2 || argc - 1 > MAX_SOCKETS) die("usage: bind-first [set] tcp:PORT|udp:PORT…");
  uint64_t times[MAX_SOCKETS];
  int fds[MAX_SOCKETS];
  for (int i = 1; i < argc; i++) {
    wanted = argv[i];
    usleep(i == 1 ? START_US : PAUSE_US);
    times[i - 1] = time_of(cycle);
    fds[i - 1] = last;
  }
  verify_sockets(fds, (size_t)argc - 1, argv + 1);
  printf("{\"times\":[");
  for (int i = 1; i < argc; i++) printf("%s%llu", i == 1 ? "" : ",", (unsigned long long)times[i - 1]);
  printf("]}\n");
}
