// What a player sees of a server: the time of a datagram there and back, or how fast a stream gets through.
//
//   bind-client udp PORT CYCLES WARMUP     one datagram of 64 bytes at a time; prints as measure() of common.h does
//   bind-client tcp PORT MEGABYTES         one stream; prints {"bytes":…,"rate":BYTES PER SECOND}
#define _GNU_SOURCE
#include "common.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DATAGRAM 64
#define TIMEOUT_S 5

static int server;
static uint64_t sent;

static void ping(void) {
  uint64_t out[DATAGRAM / sizeof(uint64_t)] = {++sent}, in[DATAGRAM / sizeof(uint64_t)];
  if (send(server, out, sizeof out, 0) != sizeof out) die_errno("send");
  if (recv(server, in, sizeof in, 0) != sizeof in) die_errno("datagram %llu did not come back", (unsigned long long)sent);
  if (in[0] != sent) die("datagram %llu was answered with another one", (unsigned long long)sent);
}

static double seconds(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void send_all(const void *data, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t now = send(server, (const char *)data + done, size - done, MSG_NOSIGNAL);
    if (now < 0) die_errno("send");
    done += (size_t)now;
  }
}

static void stream(size_t megabytes) {
  static char block[1 << 16];
  uint64_t size = (uint64_t)megabytes << 20;
  char answer;
  double begin = seconds();
  send_all(&size, sizeof size);
  for (uint64_t left = size; left > 0; left -= sizeof block) send_all(block, sizeof block);
  if (recv(server, &answer, 1, 0) != 1) die_errno("the stream was not acknowledged");
  printf("{\"bytes\":%llu,\"rate\":%.0f}\n", (unsigned long long)size, (double)size / (seconds() - begin));
}

int main(int argc, char **argv) {
  int is_udp = argc == 5 && strcmp(argv[1], "udp") == 0;
  if (!is_udp && (argc != 4 || strcmp(argv[1], "tcp") != 0))
    die("usage: bind-client udp PORT CYCLES WARMUP | tcp PORT MEGABYTES");
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)parse_count(argv[2])),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
  server = socket(AF_INET, is_udp ? SOCK_DGRAM : SOCK_STREAM, 0);
  struct timeval timeout = {.tv_sec = TIMEOUT_S};
  if (server < 0 || setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0) die_errno("socket");
  if (connect(server, (struct sockaddr *)&address, sizeof address) < 0) die_errno("connect to %s", argv[2]);
  if (is_udp) measure(ping, parse_count(argv[3]), parse_count(argv[4]));
  else stream(parse_count(argv[3]));
}
