// The floor of a lease with a root that stands ready: the least that two C programs do for the same. A server has an
// overlay that is attached nowhere; asked for it, it makes a copy of the mount and sends that. The client opens a file
// in it. The server parses nothing, knows no berths and records nothing.
//
//   root-floor IMAGE UPPER WORK FILE CYCLES WARMUP
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

// As between two leases in root-client.c.
static const useconds_t rest = 5000;

static int connection, root = -1;
static const char *file;

static void set(int context, const char *key, const char *value) {
  if (fsconfig(context, FSCONFIG_SET_STRING, key, value, 0) < 0) die_errno("fsconfig %s", key);
}

static int mount_overlay(char *const *folders) {
  int context = fsopen("overlay", FSOPEN_CLOEXEC);
  if (context < 0) die_errno("fsopen overlay");
  set(context, "lowerdir", folders[0]);
  set(context, "upperdir", folders[1]);
  set(context, "workdir", folders[2]);
  if (fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) die_errno("fsconfig create");
  int mount = fsmount(context, FSMOUNT_CLOEXEC, 0);
  if (mount < 0) die_errno("fsmount");
  close(context);
  return mount;
}

// A message with room for one descriptor.
struct message {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec data;
  struct msghdr header;
};

static void prepare(struct message *message, char *text, size_t size) {
  message->data = (struct iovec){text, size};
  message->header = (struct msghdr){.msg_iov = &message->data,
                                    .msg_iovlen = 1,
                                    .msg_control = &message->control,
                                    .msg_controllen = sizeof message->control};
}

// Answers every request with a copy of the mount, until the client is gone.
static void serve(int client, int mount) {
  static char request[512], reply[300] = "{\"parameters\":{}}";
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN};
  if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event) < 0) die_errno("epoll");
  for (;;) {
    if (epoll_wait(epoll, &event, 1, -1) < 0) die_errno("epoll_wait");
    ssize_t got = recv(client, request, sizeof request, 0);
    if (got <= 0) _exit(0);
    int copy = open_tree(mount, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (copy < 0) die_errno("open_tree");
    struct message message;
    prepare(&message, reply, sizeof reply);
    message.control.header =
        (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof copy), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&message.control.header), &copy, sizeof copy);
    if (sendmsg(client, &message.header, MSG_NOSIGNAL) < 0) die_errno("sendmsg");
    close(copy);
  }
}

static void release(void) {
  if (root < 0) return;
  close(root);
  root = -1;
  usleep(rest);
}

static void acquire(void) {
  static const char request[] = "{\"method\":\"io.berthd.Broker.Acquire\",\"parameters\":{\"berth\":\"idmap@0\"}}";
  static char reply[512];
  if (send(connection, request, sizeof request, MSG_NOSIGNAL) != sizeof request) die_errno("send");
  struct message message;
  prepare(&message, reply, sizeof reply);
  if (recvmsg(connection, &message.header, MSG_CMSG_CLOEXEC) <= 0) die_errno("recvmsg");
  struct cmsghdr *part = CMSG_FIRSTHDR(&message.header);
  if (part == NULL) die("no descriptor came");
  memcpy(&root, CMSG_DATA(part), sizeof root);
  int opened = openat(root, file, O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (opened < 0 || fstat(opened, &status) < 0) die_errno("open %s in the root", file);
  close(opened);
}

int main(int argc, char **argv) {
  if (argc != 7) die("usage: root-floor IMAGE UPPER WORK FILE CYCLES WARMUP");
  int mount = mount_overlay(argv + 1), pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) die_errno("socketpair");
  pid_t child = fork();
  if (child < 0) die_errno("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(pair[0]);
    serve(pair[1], mount);
  }
  close(pair[1]);
  connection = pair[0];
  file = argv[4];
  measure_after(release, acquire, parse_count(argv[5]), parse_count(argv[6]));
  return 0;
}
