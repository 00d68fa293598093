// Text for a terminal: whatever a name or a message contains, it cannot move the cursor, reorder a line or begin one.
// src/printable.ts does the same.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "utf8.h"

namespace berthd {

struct CodePoints {
  uint32_t first, last;
};

// Control characters (C0 and C1), invisible format characters (those that change the direction of text among them), and
// separators of lines and paragraphs: Unicode's categories Cc, Cf, Zl and Zp.
constexpr CodePoints kHostile[] = {
    {0x0, 0x1f},       {0x7f, 0x9f},       {0xad, 0xad},       {0x600, 0x605},     {0x61c, 0x61c},
    {0x6dd, 0x6dd},    {0x70f, 0x70f},     {0x890, 0x891},     {0x8e2, 0x8e2},     {0x180e, 0x180e},
    {0x200b, 0x200f},  {0x2028, 0x202e},   {0x2060, 0x2064},   {0x2066, 0x206f},   {0xfeff, 0xfeff},
    {0xfff9, 0xfffb},  {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3},
    {0x1d173, 0x1d17a}, {0xe0001, 0xe0001}, {0xe0020, 0xe007f},
};

inline bool isPrintable(uint32_t point) {
  for (const CodePoints& hostile : kHostile) {
    if (point <= hostile.last) return point < hostile.first;
  }
  return true;
}

// Calls `put` with pieces of the text, with what a terminal would obey written as \x1b or \u{202e}, and so the bytes
// that are not UTF-8.
template <typename Put>
void escapeText(const char* text, size_t length, Put put) {
  for (size_t at = 0; at < length;) {
    uint32_t point = 0;
    size_t size = decodeUtf8(text + at, length - at, &point);
    if (size != 0 && isPrintable(point)) {
      put(text + at, size);
    } else {
      const bool isByte = size == 0;
      if (isByte) {
        point = static_cast<uint8_t>(text[at]);
        size = 1;
      }
      char escaped[16];
      const int written = snprintf(escaped, sizeof escaped, point < 256 ? "\\x%02x" : "\\u{%x}", point);
      put(escaped, static_cast<size_t>(written));
    }
    at += size;
  }
}

}  // namespace berthd
