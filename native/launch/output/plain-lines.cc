// The text of a terminal as lines for a log.
#include "console.h"

namespace berthd {

// U+0080 to U+009F are control characters, in UTF-8 the byte C2 and one of 80 to 9F. A terminal may obey them. The byte
// C2 is held back until the next byte of text: there may be escape sequences between the two.
void PlainLines::put(char byte) {
  const unsigned char value = static_cast<unsigned char>(byte);
  const bool isSecond = hasFirst_;
  hasFirst_ = false;
  if (isSecond && value >= 0x80 && value < 0xa0) return;
  if (isSecond) append('\xc2');
  if (value == 0xc2) hasFirst_ = true;
  else append(byte);
}

void PlainLines::append(char byte) {
  if (byte == '\n') {
    returned_ = false;
  } else if (returned_) {
    returned_ = false;
    endLine();
  }
  text_[size_++] = byte;
}

void PlainLines::endLine() {
  if (size_ > 0 && text_[size_ - 1] != '\n') text_[size_++] = '\n';
}

// Sequences of ECMA-48 and xterm: ESC [ … final, ESC ] … BEL or ESC \, ESC ( x, ESC x.
void PlainLines::add(const char* bytes, size_t size) {
  for (const char* at = bytes; at < bytes + size; at++) {
    const unsigned char byte = static_cast<unsigned char>(*at);
    switch (state_) {
      case State::kText:
        if (byte == 0x1b) state_ = State::kEscape;
        else if (byte == '\r') returned_ = true;
        else if ((byte >= 0x20 && byte != 0x7f) || byte == '\n' || byte == '\t') put(*at);
        break;
      case State::kEscape:
        if (byte == '[') state_ = State::kSequence;
        else if (byte == ']' || byte == 'P' || byte == 'X' || byte == '^' || byte == '_') state_ = State::kString;
        else if (byte >= 0x20 && byte < 0x30) state_ = State::kCharset;
        else if (byte != 0x1b) state_ = State::kText;
        break;
      case State::kCharset:
        if (byte >= 0x30) state_ = State::kText;
        break;
      case State::kSequence:
        if (byte == 0x1b) state_ = State::kEscape;
        else if (byte >= 0x40 || byte == '\n') state_ = State::kText;
        break;
      case State::kString:
        if (byte == 0x07 || byte == '\n') state_ = State::kText;
        else if (byte == 0x1b) state_ = State::kStringEscape;
        break;
      case State::kStringEscape:
        state_ = byte == 0x1b ? State::kStringEscape : byte == '\\' ? State::kText : State::kString;
        break;
    }
  }
}

size_t PlainLines::ready(bool all) const {
  size_t size = size_ < kPiece ? size_ : kPiece;
  if (all) return size;
  const void* const end = memrchr(text_, '\n', size);
  if (end != nullptr) return static_cast<size_t>(static_cast<const char*>(end) - text_) + 1;
  // A line that is longer than a piece goes out in pieces.
  return size == kPiece ? size : 0;
}

void PlainLines::drop(size_t size) {
  size_ -= size;
  memmove(text_, text_ + size, size_);
}

}  // namespace berthd
