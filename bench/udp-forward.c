// The least that forwarding datagrams through a process can cost, as docker-proxy does it: a connected socket of its
// own for each player, so that answers find their way back. One thread, epoll, no timeouts, no log.
//
//   udp-forward PORT BACKEND     both on 127.0.0.1
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_PLAYERS 64

static struct player {
  struct sockaddr_in address;
  int backend;
} players[MAX_PLAYERS];
static size_t player_count;

static int front, poller;
static struct sockaddr_in backend = {.sin_family = AF_INET};
static char buffer[1 << 16];

static void watch(int fd, uint64_t data) {
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = data};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die_errno("epoll_ctl");
}

static struct player *find(const struct sockaddr_in *address) {
  for (size_t i = 0; i < player_count; i++) {
    if (players[i].address.sin_port == address->sin_port &&
        players[i].address.sin_addr.s_addr == address->sin_addr.s_addr)
      return &players[i];
  }
  struct player *found = &players[player_count == MAX_PLAYERS ? 0 : player_count++];
  if (found->backend > 0) close(found->backend);
  found->address = *address;
  found->backend = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (found->backend < 0 || connect(found->backend, (struct sockaddr *)&backend, sizeof backend) < 0)
    die_errno("connect to the backend");
  watch(found->backend, (uint64_t)(found - players) + 1);
  return found;
}

static void forward(void) {
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  ssize_t size = recvfrom(front, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length);
  if (size >= 0) send(find(&from)->backend, buffer, (size_t)size, 0);
}

static void answer(struct player *player) {
  ssize_t size = recv(player->backend, buffer, sizeof buffer, 0);
  if (size >= 0) sendto(front, buffer, (size_t)size, 0, (struct sockaddr *)&player->address, sizeof player->address);
}

int main(int argc, char **argv) {
  if (argc != 3) die("usage: udp-forward PORT BACKEND");
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)parse_count(argv[1])),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
  backend.sin_port = htons((uint16_t)parse_count(argv[2]));
  backend.sin_addr = address.sin_addr;
  front = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (front < 0 || bind(front, (struct sockaddr *)&address, sizeof address) < 0) die_errno("bind to %s", argv[1]);
  poller = epoll_create1(EPOLL_CLOEXEC);
  if (poller < 0) die_errno("epoll_create1");
  watch(front, 0);
  for (;;) {
    struct epoll_event events[MAX_PLAYERS + 1];
    int ready = epoll_wait(poller, events, MAX_PLAYERS + 1, -1);
    if (ready < 0 && errno != EINTR) die_errno("epoll_wait");
    for (int i = 0; i < ready; i++) {
      if (events[i].data.u64 == 0) forward();
      else answer(&players[events[i].data.u64 - 1]);
    }
  }
}
