// The keeper of a console: copies what the server writes to the launcher's standard output and to readers, and what
// they type to the server. It waits for the log, as the server itself would, but for no reader. It ends with the
// server.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "console-history.h"
#include "console.h"

namespace berthd {
namespace {

constexpr size_t kReaders = 16;
constexpr int64_t kAcceptPauseMs = 1000;
// How long the log, and then the readers, may take for the last of the output.
constexpr int64_t kLogMs = 5000;
constexpr int64_t kReadersMs = 1000;

int64_t nowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

struct Reader {
  UniqueFd fd;
  uint64_t at = 0;    // what it has got
  uint64_t live = 0;  // what there was when it came
  bool isTold = false;  // of the end
  size_t outFrom = 0;
  size_t outTo = 0;
  size_t inSize = 0;
  char out[kFrameHeader + kPiece];
  char in[kFrameHeader + kInputMax];
};

class Keeper {
 public:
  Keeper(Console& console, UniqueFd& server) : console_(console), server_(server) {}

  void run() {
    for (int64_t deadline = 0; !hasEnded_ || !isDone(deadline);) {
      wait(hasEnded_ ? deadline : 0);
      if (hasEnded_ || !isServerGone()) continue;
      hasEnded_ = true;
      deadline = nowMs() + kLogMs;
    }
    isDry_ = true;
    const int64_t deadline = nowMs() + kReadersMs;
    for (Reader& reader : readers_) send(reader);
    while (nowMs() < deadline && hasUntold()) wait(deadline);
  }

 private:
  bool isServerGone() const {
    pollfd one = {server_.get(), POLLIN, 0};
    return poll(&one, 1, 0) > 0;
  }

  // Whether all of the output has gone into the log.
  bool isDone(int64_t deadline) {
    if (nowMs() >= deadline) return true;
    return isDry_ && (isLogClosed_ || log_.ready(true) == 0);
  }

  bool hasUntold() const {
    for (const Reader& reader : readers_) {
      if (reader.fd.valid()) return true;
    }
    return false;
  }

  // Waits for something to do, and does it. `deadline` 0: without end.
  void wait(int64_t deadline) {
    const int64_t now = nowMs();
    const bool accepts = now >= acceptAfter_ && !hasEnded_;
    const bool takes = isLogClosed_ || log_.hasRoom();
    pollfd polled[4 + kReaders];
    const short ofMaster = static_cast<short>((takes && !isDry_ ? POLLIN : 0) | (inputSize_ > 0 ? POLLOUT : 0));
    polled[0] = {ofMaster != 0 ? console_.master.get() : -1, ofMaster, 0};
    polled[1] = {hasEnded_ ? -1 : server_.get(), POLLIN, 0};
    polled[2] = {accepts ? console_.listener.get() : -1, POLLIN, 0};
    polled[3] = {!isLogClosed_ && log_.ready(isDry_) > 0 ? STDOUT_FILENO : -1, POLLOUT, 0};
    for (size_t i = 0; i < kReaders; i++) {
      const Reader& reader = readers_[i];
      const bool sends = reader.outFrom < reader.outTo || reader.at < history_.end();
      const short events = static_cast<short>((inputSize_ == 0 ? POLLIN : 0) | (sends ? POLLOUT : 0));
      // Without events it is left out: poll(2) tells of a hang-up even where nothing is asked.
      polled[4 + i] = {events != 0 ? reader.fd.get() : -1, events, 0};
    }
    const int64_t until = deadline > 0 ? deadline : !accepts && !hasEnded_ ? acceptAfter_ : 0;
    // What the server wrote last is read at once, if there is anything.
    const bool drains = hasEnded_ && takes && !isDry_;
    const int timeout = drains || (until > 0 && until <= now) ? 0 : until == 0 ? -1 : static_cast<int>(until - now);
    if (poll(polled, 4 + kReaders, timeout) < 0) return;
    if ((polled[0].revents & POLLOUT) != 0) writeInput();
    if (takes) readOutput();
    if (polled[2].revents != 0) accept();
    if (polled[3].revents != 0) writeLog();
    for (size_t i = 0; i < kReaders; i++) {
      if ((polled[4 + i].revents & (POLLIN | POLLHUP | POLLERR)) != 0) receive(readers_[i]);
      send(readers_[i]);
    }
  }

  void readOutput() {
    char piece[kPiece];
    const ssize_t size = read(console_.master.get(), piece, sizeof piece);
    // This process has the other end open too, so nothing but an empty terminal gives an error.
    if (size <= 0) {
      isDry_ = hasEnded_;
      if (isDry_) log_.endLine();  // before it is written
      return;
    }
    history_.add(piece, static_cast<size_t>(size));
    if (!isLogClosed_) log_.add(piece, static_cast<size_t>(size));
  }

  void writeLog() {
    const size_t size = log_.ready(isDry_);
    // Others have the same socket, pipe or file open, so it cannot be made non-blocking.
    ssize_t written = ::send(STDOUT_FILENO, log_.text(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (written < 0 && errno == ENOTSOCK) written = write(STDOUT_FILENO, log_.text(), size);
    if (written >= 0) log_.drop(static_cast<size_t>(written));
    else if (errno != EAGAIN && errno != EINTR) isLogClosed_ = true;
  }

  void writeInput() {
    const ssize_t written = write(console_.master.get(), input_, inputSize_);
    if (written <= 0) return;
    inputSize_ -= static_cast<size_t>(written);
    memmove(input_, input_ + written, inputSize_);
  }

  void accept() {
    UniqueFd fd(accept4(console_.listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno != EAGAIN && errno != ECONNABORTED) acceptAfter_ = nowMs() + kAcceptPauseMs;  // no descriptor is left
      return;
    }
    for (Reader& reader : readers_) {
      // One that has stopped reading gives way. One that reads again, before, learns that it was too slow.
      if (reader.fd.valid() && reader.at >= history_.start()) continue;
      reader.fd = static_cast<UniqueFd&&>(fd);
      reader.at = history_.firstLine();
      reader.live = history_.end();
      reader.isTold = false;
      reader.outFrom = reader.outTo = reader.inSize = 0;
      return;
    }
    const char full[kFrameHeader] = {'f', 0, 0};
    ::send(fd.get(), full, sizeof full, MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  // Sends as much as the reader takes at once.
  void send(Reader& reader) {
    while (reader.fd.valid()) {
      if (reader.outFrom == reader.outTo && !frame(reader)) return;
      const ssize_t sent = ::send(reader.fd.get(), reader.out + reader.outFrom, reader.outTo - reader.outFrom,
                                  MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno == EAGAIN) return;
        receive(reader);  // one that has left may have typed something before
        reader.fd.reset();
        return;
      }
      reader.outFrom += static_cast<size_t>(sent);
      if (reader.isTold && reader.outFrom == reader.outTo) reader.fd.reset();
    }
  }

  // Puts the next frame together. False if there is nothing to send.
  bool frame(Reader& reader) {
    char type = reader.at < reader.live ? 'h' : 'o';
    size_t size = 0;
    if (reader.at < history_.start()) {
      type = 'd';
    } else if (reader.at < history_.end()) {
      const uint64_t until = reader.at < reader.live ? reader.live : history_.end();
      size = until - reader.at < kPiece ? static_cast<size_t>(until - reader.at) : kPiece;
      history_.copy(reader.at, reader.out + kFrameHeader, size);
      reader.at += size;
    } else if (hasEnded_ && isDry_) {
      type = 'e';
    } else {
      return false;
    }
    reader.isTold = size == 0;
    reader.out[0] = type;
    reader.out[1] = static_cast<char>(size & 0xff);
    reader.out[2] = static_cast<char>(size >> 8);
    reader.outFrom = 0;
    reader.outTo = kFrameHeader + size;
    return true;
  }

  // Reads frames, as long as what was typed before has gone to the server: so input keeps its order.
  void receive(Reader& reader) {
    if (!reader.fd.valid() || inputSize_ > 0) return;
    char* const room = reader.in + reader.inSize;
    const ssize_t got = recv(reader.fd.get(), room, sizeof reader.in - reader.inSize, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return reader.fd.reset();
    if (got > 0) reader.inSize += static_cast<size_t>(got);
    size_t at = 0;
    while (reader.inSize - at >= kFrameHeader) {
      const unsigned char* const header = reinterpret_cast<const unsigned char*>(reader.in + at);
      const size_t size = header[1] | static_cast<size_t>(header[2]) << 8;
      const bool isKnown = header[0] == 'i' ? size <= kInputMax : header[0] == 'w' && size == 4;
      if (!isKnown) return reader.fd.reset();
      if (reader.inSize - at < kFrameHeader + size) break;
      // All that is in the buffer has room here: each reader's is as large, and nobody else's is read meanwhile.
      if (header[0] == 'i') {
        memcpy(input_ + inputSize_, header + kFrameHeader, size);
        inputSize_ += size;
      } else {
        resize(header + kFrameHeader);
      }
      at += kFrameHeader + size;
    }
    reader.inSize -= at;
    memmove(reader.in, reader.in + at, reader.inSize);
    if (inputSize_ > 0) writeInput();
  }

  void resize(const unsigned char* size) const {
    const winsize wanted = {static_cast<unsigned short>(size[0] | size[1] << 8),
                            static_cast<unsigned short>(size[2] | size[3] << 8), 0, 0};
    ioctl(console_.master.get(), TIOCSWINSZ, &wanted);
  }

  Console& console_;
  UniqueFd& server_;
  bool hasEnded_ = false;
  bool isDry_ = false;  // it has ended, and all its output was read
  bool isLogClosed_ = false;
  int64_t acceptAfter_ = 0;
  size_t inputSize_ = 0;
  History history_;
  PlainLines log_;
  char input_[kFrameHeader + kInputMax];
  Reader readers_[kReaders];
};

}  // namespace

void keepConsole(Console& console, UniqueFd& server) {
  List<int> kept;
  const int needed[] = {STDOUT_FILENO, console.listener.get(), console.master.get(), console.slave.get(), server.get()};
  for (const int fd : needed) kept.push(fd);
  closeAllBut(kept, 0);
  fcntl(console.listener.get(), F_SETFL, O_NONBLOCK);
  if (chdir("/") != 0) _exit(kSystem);
  void* const room = malloc(sizeof(Keeper));
  if (room == nullptr) _exit(kSystem);
  (new (room) Keeper(console, server))->run();
  _exit(0);
}

}  // namespace berthd
