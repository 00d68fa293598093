// What a bind costs: socket, bind and close in a loop, each on the same address. It knows nothing of filters.
//
//   bind-loop PORT CYCLES WARMUP     UDP on 127.0.0.1
//
// A broker answers 200 binds a second of one server at once and lets further ones wait, so the loop stays below that,
// with a filter and without.
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_US 8000

static struct sockaddr_in address = {.sin_family = AF_INET};

static void cycle(void) {
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die_errno("socket");
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die_errno("bind to port %d", ntohs(address.sin_port));
  close(fd);
}

int main(int argc, char **argv) {
  if (argc != 4) die("usage: bind-loop PORT CYCLES WARMUP");
  address.sin_port = htons((uint16_t)parse_count(argv[1]));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  measure_paced(cycle, parse_count(argv[2]), parse_count(argv[3]), PAUSE_US);
}
