// Starts many servers, and prints how long it took until all of them served. Ends them before it ends.
//
//   launch-many COUNT PARALLEL PORT COMMAND…
//
// In COMMAND, {index} is the server's number from 0, {port} is PORT plus that, and {report} is the UDP port to which a
// server sends its number once it serves. At most PARALLEL are on their way at once. It prints one line of JSON:
// `seconds` for all of them, and p50 and p99 of each one's start, in nanoseconds.
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_SERVERS = 4000, MAX_WORDS = 64, PATIENCE_MS = 30000 };

static pid_t pids[MAX_SERVERS];
static uint64_t started[MAX_SERVERS], took[MAX_SERVERS];
static size_t launched;

// Ends every server, and waits for each. Some are wrapped by a program that ends with them.
static void end_all(void) {
  for (size_t i = 0; i < launched; i++) kill(pids[i], SIGTERM);
  for (size_t i = 0; i < launched; i++) waitpid(pids[i], NULL, 0);
}

// `word` with `name` replaced by `value`.
static void replace(char *word, size_t size, const char *name, size_t value) {
  char *at = strstr(word, name);
  if (at == NULL) return;
  char rest[512];
  snprintf(rest, sizeof rest, "%s", at + strlen(name));
  snprintf(at, size - (size_t)(at - word), "%zu%s", value, rest);
}

static void launch(char *const *command, size_t index, size_t port, size_t report) {
  static char words[MAX_WORDS][512];
  char *arguments[MAX_WORDS + 1] = {NULL};
  for (size_t i = 0; command[i] != NULL; i++) {
    snprintf(words[i], sizeof words[i], "%s", command[i]);
    replace(words[i], sizeof words[i], "{index}", index);
    replace(words[i], sizeof words[i], "{port}", port + index);
    replace(words[i], sizeof words[i], "{report}", report);
    arguments[i] = words[i];
  }
  started[index] = now();
  pid_t pid = vfork();
  if (pid < 0) {
    end_all();
    die_errno("vfork");
  }
  if (pid == 0) {
    execvp(arguments[0], arguments);
    _exit(127);
  }
  pids[launched++] = pid;
}

int main(int argc, char **argv) {
  if (argc < 5 || argc - 4 > MAX_WORDS) die("usage: launch-many COUNT PARALLEL PORT COMMAND…");
  size_t count = parse_count(argv[1]), parallel = parse_count(argv[2]), port = parse_count(argv[3]);
  if (count > MAX_SERVERS) die("at most %d servers", MAX_SERVERS);
  int report = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  if (report < 0 || bind(report, (struct sockaddr *)&address, sizeof address) < 0) die_errno("bind");
  if (getsockname(report, (struct sockaddr *)&address, &size) < 0) die_errno("getsockname");
  uint64_t begin = now();
  for (size_t served = 0; served < count; served++) {
    while (launched < count && launched - served < parallel) launch(argv + 4, launched, port, ntohs(address.sin_port));
    char text[32] = "";
    struct pollfd wait = {.fd = report, .events = POLLIN};
    ssize_t got = poll(&wait, 1, PATIENCE_MS) == 1 ? recv(report, text, sizeof text - 1, 0) : -1;
    size_t index = got > 0 ? strtoul(text, NULL, 10) : MAX_SERVERS;
    if (index >= launched || took[index] != 0) {
      end_all();
      die("a server did not say that it serves within %d s, or said it twice", PATIENCE_MS / 1000);
    }
    took[index] = now() - started[index];
  }
  double seconds = (double)(now() - begin) / 1e9;
  end_all();
  sort_times(took, count);
  printf("{\"seconds\":%.4f,\"p50\":%llu,\"p99\":%llu}\n", seconds,
         (unsigned long long)percentile(took, count, 50), (unsigned long long)percentile(took, count, 99));
  return 0;
}
