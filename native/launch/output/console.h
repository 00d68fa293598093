// The console of a server: a terminal (pty) of its own, which outlives the terminals of those who look at it. The
// keeper is an unprivileged process beside the server. It has the terminal's other end, and a socket for readers.
//
// What a reader and the keeper send each other: u8 type, u16 little-endian length, then so many bytes.
//
//   reader  'i'  input, at most kInputMax bytes: typed into the terminal
//           'w'  u16 rows, u16 columns: the terminal's size from now on
//   keeper  'h'  output from before the reader connected
//           'o'  output
//           'e'  the server has ended
//           'd'  the reader was too slow, and the connection ends
//           'f'  there are too many readers, and the connection ends
//
// src/net/console-frames.ts mirrors this file.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "launch/launch.h"

namespace berthd {

constexpr size_t kFrameHeader = 3;
constexpr size_t kInputMax = 1024;
constexpr size_t kPiece = 4096;  // PIPE_BUF: a write of this size to a pipe that poll(2) calls writable does not wait

struct Console {
  UniqueFd listener;
  UniqueFd master;
  UniqueFd slave;

  bool valid() const { return master.valid(); }
};

// Opens the terminal if the plan has a console, or ends the process. Where standard input is a terminal, that is the
// console, and there is no other.
void openConsole(const Plan& plan, Reply& reply, Console& console);

// Starts the keeper, and makes the terminal this process's own: standard streams and controlling terminal. Ends the
// process if it cannot. As the server's user, before the filters: the keeper is to have none.
void startConsole(Console& console);

// The keeper, which never returns: until the process of `server`, a pidfd, has ended. Closes all other descriptors but
// standard output, to which it copies what the server writes, as plain lines.
[[noreturn]] void keepConsole(Console& console, UniqueFd& server);

// What a terminal showed, without what only a terminal understands: escape sequences, and lines that were overwritten.
// Text goes out in whole lines.
class PlainLines {
 public:
  // Whether kPiece bytes more have room, with what earlier bytes may add: a line's end, half a character, the last end.
  bool hasRoom() const { return size_ + kPiece + 3 <= sizeof text_; }
  void add(const char* bytes, size_t size);
  // The text that can be written now, at most kPiece bytes. `all`: also a line that has not ended.
  size_t ready(bool all) const;
  const char* text() const { return text_; }
  void drop(size_t size);
  // Ends a line that has begun.
  void endLine();

 private:
  enum class State { kText, kEscape, kCharset, kSequence, kString, kStringEscape };

  void put(char byte);
  void append(char byte);

  State state_ = State::kText;
  bool returned_ = false;  // the cursor is back at the beginning of the line
  bool hasFirst_ = false;  // of the two bytes of a control character, or of another one
  size_t size_ = 0;
  char text_[4 * kPiece];
};

}  // namespace berthd
