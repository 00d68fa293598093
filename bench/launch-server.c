// The server that `npm run bench:launch` starts: it has a UDP socket, says that it serves, and stays until it is ended,
// or until its parent ends. The parent is launch-many, which the benchmark kills when it is interrupted, or bwrap.
//
//   launch-server REPORT INDEX          the socket is descriptor 3, as sd_listen_fds(3) says
//   launch-server REPORT INDEX PORT     it binds 127.0.0.1:PORT
//
// It serves once INDEX was sent to UDP port REPORT.
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 3 && argc != 4) die("usage: launch-server REPORT INDEX [PORT]");
  if (argc == 4) {
    char text[32];
    snprintf(text, sizeof text, "udp:%s", argv[3]);
    bind_socket(text, NULL);
  } else {
    const char *count = getenv("LISTEN_FDS");
    int type = 0;
    socklen_t size = sizeof type;
    if (count == NULL || strcmp(count, "1") != 0) die("LISTEN_FDS is not 1");
    if (getsockopt(3, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_DGRAM) die("descriptor 3 is no UDP socket");
  }
  if (getuid() == 0) die("it still runs as root");
  // After the change of the user, which clears it (prctl(2)).
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) die_errno("PR_SET_PDEATHSIG");
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)parse_count(argv[1]))};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int report = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (report < 0 || connect(report, (struct sockaddr *)&to, sizeof to) < 0) die_errno("connect");
  if (send(report, argv[2], strlen(argv[2]), 0) < 0) die_errno("report");
  // If launch-many ended before the prctl above, its port is closed. Loopback says so at once.
  int refused = 0;
  socklen_t length = sizeof refused;
  if (getsockopt(report, SOL_SOCKET, SO_ERROR, &refused, &length) < 0 || refused != 0) die("launch-many has ended");
  close(report);
  for (;;) pause();
}
