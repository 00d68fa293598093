// A server that knows nothing of berthd: it binds its own socket, echoes datagrams, and swallows streams.
//
//   bind-server udp|tcp PORT     on 127.0.0.1
//
// A stream begins with its length, 8 bytes in the host's order; when all of it has come, one byte is sent back.
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[1 << 16];

static void echo(int fd) {
  for (;;) {
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    ssize_t size = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&peer, &length);
    if (size < 0) die_errno("recvfrom");
    if (sendto(fd, buffer, (size_t)size, 0, (struct sockaddr *)&peer, length) < 0 && errno != ECONNREFUSED)
      die_errno("sendto");
  }
}

static void swallow(int client) {
  uint64_t left;
  if (recv(client, &left, sizeof left, MSG_WAITALL) == sizeof left) {
    while (left > 0) {
      ssize_t size = recv(client, buffer, sizeof buffer, 0);
      if (size <= 0) break;
      left -= (uint64_t)size;
    }
    if (left == 0) send(client, "!", 1, MSG_NOSIGNAL);
  }
  close(client);
}

int main(int argc, char **argv) {
  if (argc != 3 || (strcmp(argv[1], "udp") != 0 && strcmp(argv[1], "tcp") != 0)) die("usage: bind-server udp|tcp PORT");
  int type = argv[1][0] == 'u' ? SOCK_DGRAM : SOCK_STREAM;
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)parse_count(argv[2])),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  if (fd < 0) die_errno("socket");
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die_errno("bind to %s", argv[2]);
  if (type == SOCK_DGRAM) echo(fd);
  if (listen(fd, SOMAXCONN) < 0) die_errno("listen on %s", argv[2]);
  for (;;) {
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    if (client >= 0) swallow(client);
    else if (errno != ECONNABORTED) die_errno("accept4");
  }
}
