// The little JSON that berth-launch speaks: it writes strings, and reads one. It parses no structure.
#include "common/printable.h"
#include "common/utf8.h"
#include "launch.h"

namespace berthd {
namespace {

void appendCodePoint(Text& out, uint32_t point) {
  const auto put = [&out](uint32_t byte) { out.push(static_cast<char>(byte)); };
  if (point < 0x20 || (point >= 0x7f && point < 0xa0)) {
    put(' ');
  } else if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | point >> 6);
    put(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    put(0xe0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3f));
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  }
}

// Reads four hex digits; a shorter run, and so the end of the text, is U+FFFD.
uint32_t readHex(const char*& at) {
  uint32_t value = 0;
  for (int i = 0; i < 4; i++, at++) {
    const char c = *at;
    const int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
    if (digit < 0) return 0xfffd;
    value = value << 4 | static_cast<uint32_t>(digit);
  }
  return value;
}

void appendUnit(Text& out, uint32_t unit) {
  char escaped[8];
  snprintf(escaped, sizeof escaped, "\\u%04x", unit & 0xffff);
  out.append(escaped);
}

// What a terminal would obey is escaped: a plan is also printed.
void appendEscape(Text& out, uint32_t point) {
  if (point < 0x10000) return appendUnit(out, point);
  appendUnit(out, 0xd800 + ((point - 0x10000) >> 10));
  appendUnit(out, 0xdc00 + ((point - 0x10000) & 0x3ff));
}

}  // namespace

bool Text::appendJson(const char* text, size_t length) {
  push('"');
  for (size_t at = 0; at < length;) {
    uint32_t point;
    const size_t sequence = decodeUtf8(text + at, length - at, &point);
    if (sequence == 0) return false;
    if (point == '"' || point == '\\') {
      push('\\');
      push(text[at]);
    } else if (!isPrintable(point)) {
      appendEscape(*this, point);
    } else {
      append(text + at, sequence);
    }
    at += sequence;
  }
  push('"');
  return true;
}

void appendUnescaped(Text& out, const char* json) {
  while (*json != '\0' && *json != '"') {
    if (*json != '\\') {
      const unsigned char c = static_cast<unsigned char>(*json++);
      if (c < 0x80) {
        appendCodePoint(out, c);
      } else {
        out.push(static_cast<char>(c));
      }
      continue;
    }
    json++;
    if (*json == '\0') return;
    const char escape = *json++;
    if (escape == 'u') {
      uint32_t point = readHex(json);
      if (point >= 0xd800 && point < 0xdc00 && json[0] == '\\' && json[1] == 'u') {
        json += 2;
        const uint32_t low = readHex(json);
        point = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
      } else if (point >= 0xd800 && point < 0xe000) {
        point = 0xfffd;
      }
      appendCodePoint(out, point);
    } else {
      out.push(strchr("bfnrt", escape) != nullptr ? ' ' : escape);
    }
  }
}

}  // namespace berthd
