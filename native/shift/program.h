// What both programs share: exit codes, numbers, signals, and a walk that shows its progress.
#pragma once

#include "walk.h"

namespace berthd {

enum ExitCode : int { kFailed = 1, kUsage = 100, kSystem = 111, kSignalled = 128 };

constexpr uint32_t kMaxId = UINT32_MAX - 1;  // UINT32_MAX means "no change" to chown(2)

// Call it first: `name` begins each message.
void startProgram(const char* name);

// Ends the process with "NAME: SENTENCE" on standard error.
[[noreturn, gnu::format(printf, 2, 3)]] void fail(ExitCode code, const char* format, ...);
[[noreturn]] void printAndExit(const char* text);

// Reads a decimal number, or a hexadecimal one after 0x. Ends the process if it is not one, or out of bounds.
uint32_t parseNumber(const char* option, const char* text, uint32_t least, uint32_t most);
// Ends the process if the range reaches beyond kMaxId.
void checkRange(const Shift& shift);

// The path without the slashes at its end.
std::string trimmed(std::string path);

// Blocks SIGINT, SIGTERM and SIGHUP, and returns a descriptor to read them from. Ignored ones stay ignored.
UniqueFd catchSignals();

// Walks the tree at `fd`, called `path`, to its end or until a signal comes. Returns that signal, or 0. On a terminal
// it shows its progress after the first second.
int run(Walk& walk, UniqueFd fd, std::string path, int signals);

// "3 files under PATH shifted with 0x… using range 0x…", then the other counts that are not 0.
std::string summary(const Counts& counts, const Shift& shift, const std::string& path, bool dryRun);

}  // namespace berthd
