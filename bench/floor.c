// The floor: the least a single-threaded C server can do to hand out descriptors. epoll, accept, receive, find the NUL,
// answer with a constant and the same sockets. It never parses, checks who asks, or keeps account of anything.
//
//   floor SOCKET REPLY tcp:PORT|udp:PORT…     REPLY is sent with a NUL behind it
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_CLIENTS 64
#define REQUEST_SIZE 4096

// What has come of a request, by the connection's fd.
static struct {
  size_t length;
  char bytes[REQUEST_SIZE];
} requests[MAX_CLIENTS];

static const char *reply;
static size_t reply_size;
static int sockets[MAX_SOCKETS];
static size_t socket_count;

// What ends a lease has a short answer, and no descriptors come with it.
static void send_short_reply(int client) {
  static const char done[] = "{\"parameters\":{}}";
  ssize_t sent = send(client, done, sizeof done, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && errno != EPIPE) die_errno("send");
}

static void send_reply(int client) {
  struct iovec data = {(void *)reply, reply_size};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof sockets)];
  } control;
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = CMSG_SPACE(socket_count * sizeof(int))};
  control.header = (struct cmsghdr){
      .cmsg_len = CMSG_LEN(socket_count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(&control.header), sockets, socket_count * sizeof(int));
  ssize_t sent = sendmsg(client, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && errno != EPIPE) die_errno("sendmsg");
  if (sent >= 0 && (size_t)sent != reply_size) die("sendmsg took %zd of %zu bytes", sent, reply_size);
}

static void serve(int client) {
  size_t have = requests[client].length;
  char *bytes = requests[client].bytes;
  char control[CMSG_SPACE(sizeof sockets)];
  struct iovec data = {bytes + have, REQUEST_SIZE - have};
  struct msghdr message = {
      .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t got = recvmsg(client, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && errno == EAGAIN) return;
  if (got < 0 && errno != ECONNRESET) die_errno("recvmsg");
  if (got <= 0) {
    requests[client].length = 0;
    close(client);
    return;
  }
  have += (size_t)got;
  char *end;
  while ((end = memchr(bytes, 0, have)) != NULL) {
    if (strstr(bytes, "Broker.Release") != NULL) send_short_reply(client);
    else send_reply(client);
    have -= (size_t)(end + 1 - bytes);
    memmove(bytes, end + 1, have);
  }
  if (have == REQUEST_SIZE) die("a request is longer than %d bytes", REQUEST_SIZE);
  requests[client].length = have;
}

static void watch(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) die_errno("epoll_ctl");
}

static int listen_on(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) die("the path %s is too long for a socket", path);
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) die_errno("socket");
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) die_errno("bind to %s", path);
  if (listen(fd, SOMAXCONN) < 0) die_errno("listen on %s", path);
  return fd;
}

int main(int argc, char **argv) {
  if (argc < 4 || argc - 3 > MAX_SOCKETS) die("usage: floor SOCKET REPLY tcp:PORT|udp:PORT…");
  reply = argv[2];
  reply_size = strlen(reply) + 1;
  for (int i = 3; i < argc; i++) sockets[socket_count++] = open_socket(argv[i]);
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) die_errno("epoll_create1");
  int listener = listen_on(argv[1]);
  watch(epoll, listener);
  for (;;) {
    struct epoll_event events[MAX_CLIENTS];
    int ready = epoll_wait(epoll, events, MAX_CLIENTS, -1);
    if (ready < 0 && errno != EINTR) die_errno("epoll_wait");
    for (int i = 0; i < ready; i++) {
      if (events[i].data.fd != listener) {
        serve(events[i].data.fd);
        continue;
      }
      int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (client < 0 && errno != EAGAIN && errno != ECONNABORTED) die_errno("accept4");
      if (client >= MAX_CLIENTS) die("there are more than %d connections", MAX_CLIENTS);
      if (client >= 0) watch(epoll, client);
    }
  }
}
