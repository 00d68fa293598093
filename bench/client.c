// The tenant that is timed, against berthd and against the floor alike. One cycle asks for a berth, waits for the reply
// in a blocking recvmsg and closes every descriptor that came. It never reads the reply's JSON: the first reply's
// descriptors are checked one by one, all later ones are counted.
//
//   client SOCKET BERTH reply                  tcp:PORT|udp:PORT…    prints the reply, without its NUL
//   client SOCKET BERTH hold    CYCLES WARMUP  tcp:PORT|udp:PORT…    times Acquire over one connection
//   client SOCKET BERTH connect CYCLES WARMUP  tcp:PORT|udp:PORT…    times connect + Acquire + close
//   client SOCKET BERTH lease   CYCLES WARMUP  tcp:PORT|udp:PORT…    times Acquire + Release over one connection
//   client SOCKET BERTH crowd   CYCLES WARMUP  tcp:PORT|udp:PORT…    times CROWD connections with PIPELINED calls each
#define _GNU_SOURCE
#include "common.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_un server = {.sun_family = AF_UNIX};
static int connection;
static char request[512];
static size_t request_size;
static size_t wanted_count;
static char reply[65536];

static void open_connection(void) {
  connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection < 0) die_errno("socket");
  if (connect(connection, (struct sockaddr *)&server, sizeof server) < 0) die_errno("connect to %s", server.sun_path);
}

static void send_text(const char *text, size_t size) {
  if (send(connection, text, size, MSG_NOSIGNAL) != (ssize_t)size) die_errno("send");
}

// Receives a reply up to its NUL; returns how many descriptors came into `fds`. It never gets a part of the next reply:
// the kernel ends a read after a message with descriptors (unix(7)).
static size_t receive_reply(int fds[static MAX_SOCKETS]) {
  size_t length = 0, count = 0;
  do {
    union {
      struct cmsghdr header;
      char bytes[CMSG_SPACE(MAX_SOCKETS * sizeof(int))];
    } control;
    struct iovec data = {reply + length, sizeof reply - length};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
    if (got < 0) die_errno("recvmsg");
    if (got == 0) die("the server closed the connection, or its reply is longer than %zu bytes", sizeof reply);
    if (message.msg_flags & MSG_CTRUNC) die("more than %d descriptors came", MAX_SOCKETS);
    for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part != NULL; part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
      size_t bytes = part->cmsg_len - CMSG_LEN(0);
      if (count + bytes / sizeof(int) > MAX_SOCKETS) die("more than %d descriptors came", MAX_SOCKETS);
      memcpy(fds + count, CMSG_DATA(part), bytes);
      count += bytes / sizeof(int);
    }
    length += (size_t)got;
  } while (reply[length - 1] != '\0');
  return count;
}

// Sends a message and receives the reply.
static size_t exchange_text(const char *text, size_t size, int fds[static MAX_SOCKETS]) {
  send_text(text, size);
  return receive_reply(fds);
}

static size_t exchange(int fds[static MAX_SOCKETS]) {
  return exchange_text(request, request_size, fds);
}

static void take(size_t count, const int *fds) {
  if (count != wanted_count) die("%zu descriptors came instead of %zu with %s", count, wanted_count, reply);
  close_all(fds, count);
}

static void acquire(void) {
  int fds[MAX_SOCKETS];
  take(exchange(fds), fds);
}

static int crowd[CROWD];
static char pipelined[PIPELINED * sizeof request];

static void open_crowd(void) {
  for (int i = 0; i < CROWD; i++) {
    open_connection();
    crowd[i] = connection;
  }
  for (int i = 0; i < PIPELINED; i++) memcpy(pipelined + (size_t)i * request_size, request, request_size);
}

// Every request is sent before the first reply is read.
static void acquire_in_crowd(void) {
  for (int i = 0; i < CROWD; i++) {
    connection = crowd[i];
    send_text(pipelined, PIPELINED * request_size);
  }
  int fds[MAX_SOCKETS];
  for (int i = 0; i < CROWD; i++) {
    connection = crowd[i];
    for (int j = 0; j < PIPELINED; j++) take(receive_reply(fds), fds);
  }
}

static void connect_and_acquire(void) {
  open_connection();
  acquire();
  close(connection);
}

// Each Acquire is of a vacant berth, and waits until the broker has set the sockets right after the last lease.
static void release(void) {
  static const char name[] = "\"lease\":\"";
  const char *id = strstr(reply, name);
  const char *end = id == NULL ? NULL : strchr(id + sizeof name - 1, '"');
  if (end == NULL) die("there is no lease in %s", reply);
  char text[256];
  int size = snprintf(text, sizeof text, "{\"method\":\"io.berthd.Broker.Release\",\"parameters\":{%.*s}}",
                      (int)(end + 1 - id), id);
  if (size < 0 || (size_t)size >= sizeof text) die("the lease's name is too long");
  int fds[MAX_SOCKETS];
  size_t count = exchange_text(text, (size_t)size + 1, fds);
  if (count != 0 || strstr(reply, "error") != NULL) die("Release was answered with %s", reply);
}

static void lease(void) {
  acquire();
  release();
}

// A broker learns of the last tenant's death from its pidfd, which may be a moment after this process has started.
static bool still_occupied(void) {
  return strstr(reply, "BerthOccupied") != NULL;
}

static void verify(char *const *wanted) {
  int fds[MAX_SOCKETS];
  size_t count = exchange(fds);
  for (int tries = 0; count == 0 && still_occupied() && tries < 200; tries++) {
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    count = exchange(fds);
  }
  if (count != wanted_count) die("%zu descriptors came instead of %zu with %s", count, wanted_count, reply);
  verify_sockets(fds, count, wanted);
  close_all(fds, count);
}

int main(int argc, char **argv) {
  bool timed = argc > 3 && strcmp(argv[3], "reply") != 0;
  int first = timed ? 6 : 4;
  if (argc <= first || argc - first > MAX_SOCKETS)
    die("usage: client SOCKET BERTH reply|hold|lease|connect|crowd [CYCLES WARMUP] tcp:PORT|udp:PORT…");
  wanted_count = (size_t)(argc - first);
  if (strlen(argv[1]) >= sizeof server.sun_path) die("the path %s is too long for a socket", argv[1]);
  strcpy(server.sun_path, argv[1]);
  int size = snprintf(request, sizeof request,
                      "{\"method\":\"io.berthd.Broker.Acquire\",\"parameters\":{\"berth\":\"%s\"}}", argv[2]);
  if (size < 0 || (size_t)size >= sizeof request) die("the berth's name is too long");
  request_size = (size_t)size + 1;

  open_connection();
  verify(argv + first);
  if (!timed) {
    puts(reply);
  } else if (strcmp(argv[3], "hold") == 0) {
    measure(acquire, parse_count(argv[4]), parse_count(argv[5]));
  } else if (strcmp(argv[3], "lease") == 0) {
    release(); // that of verify()
    measure(lease, parse_count(argv[4]), parse_count(argv[5]));
  } else if (strcmp(argv[3], "connect") == 0) {
    close(connection);
    measure(connect_and_acquire, parse_count(argv[4]), parse_count(argv[5]));
  } else if (strcmp(argv[3], "crowd") == 0) {
    open_crowd();
    measure(acquire_in_crowd, parse_count(argv[4]), parse_count(argv[5]));
  } else {
    die("\"%s\" is not reply, hold, lease, connect or crowd", argv[3]);
  }
  return 0;
}
