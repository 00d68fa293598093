// UTF-8 (RFC 3629): one character of a text at a time.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace berthd {

// Decodes the character at `text`, of which `left` bytes may be read. Returns its length in bytes, or 0 where there is
// no well-formed one: overlong forms, surrogates and what is above U+10FFFF are refused.
inline size_t decodeUtf8(const char* text, size_t left, uint32_t* point) {
  const auto byte = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  if (left == 0) return 0;
  const uint8_t first = byte(0);
  if (first < 0x80) {
    *point = first;
    return 1;
  }
  const size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length == 0 || length > left) return 0;
  uint32_t decoded = first & (0xffU >> (length + 1));
  for (size_t i = 1; i < length; i++) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    decoded = decoded << 6 | (byte(i) & 0x3fU);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool isSurrogate = decoded >= 0xd800 && decoded <= 0xdfff;
  if (decoded < kLeast[length] || decoded > 0x10ffff || isSurrogate) return 0;
  *point = decoded;
  return length;
}

}  // namespace berthd
