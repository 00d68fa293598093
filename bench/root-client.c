// A tenant of berths with roots. One cycle asks for a berth, waits for the reply, and opens a file in the root that
// came with it; the file must belong to an id of the berth's range. Untimed before it, the last berth is given back,
// and the broker is left time for what follows from that. Berths take turns, so that each time the root is another one.
//
//   root-client SOCKET PREFIX BERTHS CYCLES WARMUP FILE     times Acquire of PREFIX0, PREFIX1, …
//   root-client SOCKET PREFIX BERTHS rush CONNECTIONS       times an Acquire of each berth: every connection asks for
//                                                           one at a time. Prints a line of JSON: how long all of them
//                                                           took, and p50 and p99 of one, in nanoseconds
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// Microseconds after a berth is given back: to unmount its root and to build the next takes two or three milliseconds.
static const useconds_t rest = 5000;

static struct sockaddr_un server = {.sun_family = AF_UNIX};
static int connection, root = -1;
static size_t berths, next;
static const char *prefix, *file;
static char reply[65536], lease[64];

static int open_connection(void) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die_errno("socket");
  if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0) die_errno("connect to %s", server.sun_path);
  return fd;
}

static void send_call(const char *method, const char *parameters) {
  char request[512];
  int size = snprintf(request, sizeof request, "{\"method\":\"io.berthd.Broker.%s\",\"parameters\":%s}", method, parameters);
  if (size < 0 || (size_t)size >= sizeof request) die("the request is too long");
  if (send(connection, request, (size_t)size + 1, MSG_NOSIGNAL) != size + 1) die_errno("send");
}

// Receives a reply up to the NUL; the descriptor that came with it, or -1.
static int receive_reply(void) {
  int fd = -1;
  for (size_t length = 0; length == 0 || reply[length - 1] != '\0';) {
    union {
      struct cmsghdr header;
      char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec data = {reply + length, sizeof reply - length};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
    if (got < 0) die_errno("recvmsg");
    if (got == 0) die("the broker closed the connection");
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    if (part != NULL) memcpy(&fd, CMSG_DATA(part), sizeof fd);
    length += (size_t)got;
  }
  if (strstr(reply, "\"error\"") != NULL) die("%s", reply);
  return fd;
}

static int call(const char *method, const char *parameters) {
  send_call(method, parameters);
  return receive_reply();
}

static void release(void) {
  if (root < 0) return;
  char parameters[128];
  snprintf(parameters, sizeof parameters, "{\"lease\":\"%s\"}", lease);
  close(root);
  root = -1;
  call("Release", parameters);
  usleep(rest);
}

static void ask_for_next(void) {
  char parameters[256];
  snprintf(parameters, sizeof parameters, "{\"berth\":\"%s%zu\"}", prefix, next++ % berths);
  send_call("Acquire", parameters);
}

static void acquire(void) {
  ask_for_next();
  root = receive_reply();
  if (root < 0) die("no descriptor came with %s", reply);
  int opened = openat(root, file, O_RDONLY | O_CLOEXEC);
  if (opened < 0) die_errno("open %s in the root", file);
  struct stat status;
  if (fstat(opened, &status) < 0 || status.st_uid < 65536) die("%s belongs to %u", file, status.st_uid);
  close(opened);
  const char *id = strstr(reply, "\"lease\":\"");
  if (id == NULL || sscanf(id, "\"lease\":\"%63[0-9a-f]", lease) != 1) die("there is no lease in %s", reply);
}

static void rush(size_t connections) {
  struct pollfd *asking = calloc(connections, sizeof *asking);
  uint64_t *since = calloc(connections, sizeof *since), *times = calloc(berths, sizeof *times);
  if (asking == NULL || since == NULL || times == NULL) die("there is no memory");
  for (size_t i = 0; i < connections; i++) asking[i] = (struct pollfd){.fd = open_connection(), .events = POLLIN};
  uint64_t begin = now();
  for (size_t i = 0; i < connections && next < berths; i++) {
    connection = asking[i].fd;
    since[i] = now();
    ask_for_next();
  }
  for (size_t done = 0; done < berths;) {
    if (poll(asking, connections, 60000) <= 0) die("no reply came for a minute");
    for (size_t i = 0; i < connections; i++) {
      if (asking[i].revents == 0) continue;
      connection = asking[i].fd;
      int fd = receive_reply();
      if (fd < 0) die("no descriptor came with %s", reply);
      close(fd);
      times[done++] = now() - since[i];
      if (next == berths) continue;
      since[i] = now();
      ask_for_next();
    }
  }
  uint64_t time = now() - begin;
  sort_times(times, berths);
  printf("{\"time\":%llu,\"p50\":%llu,\"p99\":%llu}\n", (unsigned long long)time,
         (unsigned long long)percentile(times, berths, 50), (unsigned long long)percentile(times, berths, 99));
}

int main(int argc, char **argv) {
  bool is_rush = argc == 6 && strcmp(argv[4], "rush") == 0;
  if (argc != 7 && !is_rush) die("usage: root-client SOCKET PREFIX BERTHS CYCLES WARMUP FILE | … BERTHS rush CONNECTIONS");
  if (strlen(argv[1]) >= sizeof server.sun_path) die("the path %s is too long for a socket", argv[1]);
  strcpy(server.sun_path, argv[1]);
  prefix = argv[2];
  berths = parse_count(argv[3]);
  if (is_rush) {
    rush(parse_count(argv[5]));
    return 0;
  }
  file = argv[6];
  connection = open_connection();
  measure_after(release, acquire, parse_count(argv[4]), strcmp(argv[5], "0") == 0 ? 0 : parse_count(argv[5]));
  release();
  return 0;
}
