// The floor of a bind: the least that one C program can do to give a server held sockets at bind(2). It starts the
// server under a filter that reports each bind (seccomp_unotify(2)), and has the same conversation as berthd:
//
//   - it receives the report, copies the address from the server's memory, and duplicates the server's socket;
//   - only then it asks whether the report is still valid;
//   - it compares family, type, protocol and address with the sockets that it holds;
//   - it reads the options that berthd would carry over, and the flags, and sets on the held socket what a new socket
//     has otherwise;
//   - it puts the held socket where the server's was, and answers.
//
// It trusts the server: one that makes it wait has it for ever. It finds no copies of the server's socket, no epolls,
// and no second bind; it knows one server, no policy, and only IPv4; it logs nothing, and keeps no record for a
// successor. The held socket is close-on-exec in the server.
//
//   bind-responder tcp:PORT|udp:PORT… -- COMMAND…     exits as COMMAND does
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

#define MAX_VALUE 16

// As src/config/keys/carried-options.ts has them: level, number, size.
static const struct option {
  int level, number;
  socklen_t size;
} options[] = {
    {SOL_SOCKET, 8, 4},   {SOL_SOCKET, 7, 4},   {SOL_SOCKET, 6, 4},   {SOL_SOCKET, 9, 4},   {SOL_SOCKET, 10, 4},
    {SOL_SOCKET, 13, 8},  {SOL_SOCKET, 18, 4},  {SOL_SOCKET, 20, 16}, {SOL_SOCKET, 21, 16}, {SOL_SOCKET, 29, 4},
    {SOL_SOCKET, 35, 4},  {SOL_SOCKET, 63, 4},  {SOL_SOCKET, 64, 4},  {SOL_SOCKET, 37, 8},  {SOL_SOCKET, 65, 8},
    {SOL_SOCKET, 40, 4},  {SOL_SOCKET, 45, 4},  {SOL_SOCKET, 42, 4},  {SOL_SOCKET, 60, 4},  {SOL_SOCKET, 47, 8},
    {SOL_SOCKET, 49, 4},  {SOL_SOCKET, 5, 4},   {SOL_SOCKET, 11, 4},  {SOL_SOCKET, 74, 4},  {SOL_SOCKET, 82, 4},
    {SOL_SOCKET, 75, 4},  {SOL_SOCKET, 41, 4},  {SOL_SOCKET, 43, 4},  {SOL_SOCKET, 46, 4},  {SOL_SOCKET, 69, 4},
    {SOL_SOCKET, 16, 4},  {SOL_SOCKET, 34, 4},  {SOL_SOCKET, 76, 4},  {SOL_SOCKET, 83, 4},  {IPPROTO_IP, 1, 4},
    {SOL_SOCKET, 12, 4},  {IPPROTO_IP, 2, 4},   {IPPROTO_IP, 8, 4},   {IPPROTO_IP, 10, 4},  {IPPROTO_IP, 11, 4},
    {IPPROTO_IP, 12, 4},  {IPPROTO_IP, 13, 4},  {IPPROTO_IP, 6, 4},   {IPPROTO_IP, 7, 4},   {IPPROTO_IP, 18, 4},
    {IPPROTO_IP, 20, 4},  {IPPROTO_IP, 21, 4},  {IPPROTO_IP, 23, 4},  {IPPROTO_IP, 25, 4},  {IPPROTO_IP, 26, 4},
    {IPPROTO_IP, 49, 4},  {IPPROTO_IP, 50, 4},  {IPPROTO_IP, 32, 4},  {IPPROTO_IP, 33, 4},  {IPPROTO_IP, 34, 4},
    {IPPROTO_UDP, 100, 4}, {IPPROTO_UDP, 101, 4}, {IPPROTO_UDP, 102, 4}, {IPPROTO_UDP, 103, 4}, {IPPROTO_UDP, 104, 4},
    {IPPROTO_TCP, 1, 4},  {IPPROTO_TCP, 4, 4},  {IPPROTO_TCP, 5, 4},  {IPPROTO_TCP, 6, 4},  {IPPROTO_TCP, 9, 4},
    {IPPROTO_TCP, 18, 4}, {IPPROTO_TCP, 23, 4}, {IPPROTO_TCP, 34, 4}, {IPPROTO_TCP, 2, 4},  {IPPROTO_TCP, 3, 4},
    {IPPROTO_TCP, 7, 4},  {IPPROTO_TCP, 8, 4},  {IPPROTO_TCP, 13, 16}, {IPPROTO_TCP, 16, 4}, {IPPROTO_TCP, 25, 4},
    {IPPROTO_TCP, 27, 4}, {IPPROTO_TCP, 36, 4}, {IPPROTO_TCP, 37, 4}, {IPPROTO_TCP, 44, 4}, {IPPROTO_TCP, 45, 4},
    {IPPROTO_TCP, 46, 4},
};
#define OPTIONS (sizeof options / sizeof *options)

// What a socket gives for these options.
struct state {
  struct {
    socklen_t size;  // 0: it does not tell
    uint8_t bytes[MAX_VALUE];
  } values[OPTIONS];
};

static struct held {
  int fd, type, protocol, flags;
  struct sockaddr_in address;
} held[MAX_SOCKETS];
static size_t held_count;
// Of new sockets: UDP and TCP.
static struct state usual[2];

static pid_t server;

static int number_of(int fd, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

static const struct state *usual_of(int type) { return &usual[type == SOCK_STREAM]; }

// Those of the other protocol would only fail.
static bool has_option(int type, const struct option *option) {
  return option->level != (type == SOCK_STREAM ? IPPROTO_UDP : IPPROTO_TCP);
}

static void read_state(int fd, int type, struct state *state) {
  memset(state, 0, sizeof *state);
  for (size_t i = 0; i < OPTIONS; i++) {
    socklen_t size = options[i].size;
    if (!has_option(type, &options[i])) continue;
    if (getsockopt(fd, options[i].level, options[i].number, state->values[i].bytes, &size) == 0)
      state->values[i].size = size;
  }
}

static void hold(const char *text) {
  if (held_count == MAX_SOCKETS) die("there are more than %d sockets", MAX_SOCKETS);
  struct held *one = &held[held_count++];
  one->fd = open_socket(text);
  one->type = number_of(one->fd, SO_TYPE);
  one->protocol = number_of(one->fd, SO_PROTOCOL);
  socklen_t size = sizeof one->address;
  if (getsockname(one->fd, (struct sockaddr *)&one->address, &size) < 0) die_errno("getsockname");
  // A server's socket waits until the server says otherwise.
  one->flags = fcntl(one->fd, F_GETFL) & ~O_NONBLOCK;
  if (fcntl(one->fd, F_SETFL, one->flags) < 0) die_errno("fcntl");
}

static void read_usual(int type) {
  int fd = socket(AF_INET, type, 0);
  if (fd < 0) die_errno("socket");
  read_state(fd, type, (struct state *)usual_of(type));
  close(fd);
}

static const struct held *find(const struct sockaddr_in *address, int domain, int type, int protocol) {
  if (domain != AF_INET || address->sin_family != AF_INET) return NULL;
  for (const struct held *one = held; one < held + held_count; one++) {
    if (one->type == type && one->protocol == protocol && one->address.sin_port == address->sin_port &&
        one->address.sin_addr.s_addr == address->sin_addr.s_addr)
      return one;
  }
  return NULL;
}

// Sets on the held socket what the server has set on its own.
static void carry_over(const struct held *to, int own) {
  struct state state;
  const struct state *was = usual_of(to->type);
  read_state(own, to->type, &state);
  for (size_t i = 0; i < OPTIONS; i++) {
    if (state.values[i].size == 0 || memcmp(&state.values[i], &was->values[i], sizeof state.values[i]) == 0) continue;
    setsockopt(to->fd, options[i].level, options[i].number, state.values[i].bytes, state.values[i].size);
  }
  int flags = fcntl(own, F_GETFL);
  if (((flags ^ to->flags) & O_NONBLOCK) != 0) fcntl(to->fd, F_SETFL, to->flags ^ O_NONBLOCK);
}

// An errno, or 0.
static int serve(int notify, const struct seccomp_notif *call) {
  int number = (int)call->data.args[0];
  struct sockaddr_in address = {0};
  struct iovec here = {&address, sizeof address};
  struct iovec there = {(void *)call->data.args[1], sizeof address};
  if (call->data.args[2] < sizeof address) return EINVAL;
  if (process_vm_readv((pid_t)call->pid, &here, 1, &there, 1, 0) != sizeof address) return EFAULT;
  int pidfd = (int)syscall(SYS_pidfd_open, call->pid, PIDFD_THREAD);
  if (pidfd < 0) return errno;
  int own = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
  close(pidfd);
  if (own < 0) return errno;
  int error = EACCES;
  if (ioctl(notify, SECCOMP_IOCTL_NOTIF_ID_VALID, &call->id) == 0) {
    const struct held *found =
        find(&address, number_of(own, SO_DOMAIN), number_of(own, SO_TYPE), number_of(own, SO_PROTOCOL));
    if (found != NULL) {
      carry_over(found, own);
      struct seccomp_notif_addfd place = {.id = call->id,
                                          .flags = SECCOMP_ADDFD_FLAG_SETFD,
                                          .srcfd = (uint32_t)found->fd,
                                          .newfd = (uint32_t)number,
                                          .newfd_flags = O_CLOEXEC};
      error = ioctl(notify, SECCOMP_IOCTL_NOTIF_ADDFD, &place) < 0 ? errno : 0;
    }
  }
  close(own);
  return error;
}

static int install_filter(void) {
  struct sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bind, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog filter = {sizeof program / sizeof *program, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) die_errno("no_new_privs");
  int notify = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
  if (notify < 0) die_errno("seccomp");
  return notify;
}

static void exit_as_it_does(int signal) {
  (void)signal;
  int status;
  if (waitpid(server, &status, WNOHANG) == server) _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

// Starts the command, and returns its listener: the parent takes it by the number that the child writes.
static int start(char **command) {
  int ends[2], notify = -1;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) die_errno("socketpair");
  pid_t parent = getpid();
  server = fork();
  if (server < 0) die_errno("fork");
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_PTRACER, parent, 0, 0, 0);
    notify = install_filter();
    if (write(ends[1], &notify, sizeof notify) != sizeof notify) die_errno("write");
    close(ends[0]);
    char byte;
    while (read(ends[1], &byte, 1) > 0) continue;  // until the parent has taken it
    execvp(command[0], command);
    die_errno("execute %s", command[0]);
  }
  close(ends[1]);
  if (read(ends[0], &notify, sizeof notify) != sizeof notify) die("the server installed no filter");
  int pidfd = (int)syscall(SYS_pidfd_open, server, 0);
  int mine = (int)syscall(SYS_pidfd_getfd, pidfd, notify, 0);
  if (mine < 0) die_errno("pidfd_getfd of the listener");
  close(pidfd);
  close(ends[0]);
  return mine;
}

int main(int argc, char **argv) {
  int at = 1;
  for (; at < argc && strcmp(argv[at], "--") != 0; at++) hold(argv[at]);
  if (held_count == 0 || at + 1 >= argc) die("usage: bind-responder tcp:PORT|udp:PORT… -- COMMAND…");
  read_usual(SOCK_DGRAM);
  read_usual(SOCK_STREAM);
  struct sigaction action = {.sa_handler = exit_as_it_does};
  sigaction(SIGCHLD, &action, NULL);
  int notify = start(&argv[at + 1]);
  for (;;) {
    struct seccomp_notif call = {0};
    if (ioctl(notify, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0) {
      exit_as_it_does(0);
      if (errno != EINTR && errno != ENOENT) die_errno("receive a bind");
      continue;
    }
    struct seccomp_notif_resp response = {.id = call.id, .error = -serve(notify, &call)};
    if (ioctl(notify, SECCOMP_IOCTL_NOTIF_SEND, &response) < 0 && errno != ENOENT) die_errno("answer a bind");
  }
}
