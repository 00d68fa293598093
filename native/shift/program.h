// What shift-own and shift-mount share as programs: exit codes, numbers, signals, and a walk with progress.
#pragma once

#include "walk.h"

namespace berthd {

enum ExitCode : int { kFailed = 1, kUsage = 100, kSystem = 111, kSignalled = 128 };

constexpr uint32_t kMaxId = UINT32_MAX - 1;  // the last one means "leave it" to chown(2)

// Before anything else: `name` begins each message.
void startProgram(const char* name);

// Ends the process with "NAME: SENTENCE" on standard error.
[[noreturn, gnu::format(printf, 2, 3)]] void fail(ExitCode code, const char* format, ...);
[[noreturn]] void printAndExit(const char* text);

// A decimal number, or a hexadecimal one after 0x; or the process ends.
uint32_t parseNumber(const char* option, const char* text, uint32_t least, uint32_t most);
// Ends the process if the range has ids that there are not.
void checkRange(const Shift& shift);

// The path without the slashes at its end.
std::string trimmed(std::string path);

// Blocks the signals that stop us, but for those that are ignored, and returns a descriptor to read them from.
UniqueFd catchSignals();

// Walks from `fd`, called `path`, to the end or until a signal comes. Returns that signal, or 0. After a second it
// shows its progress, if standard error is a terminal.
int run(Walk& walk, UniqueFd fd, std::string path, int signals);

// "3 files under PATH shifted with 0x… using range 0x…", and what else there is to say.
std::string summary(const Counts& counts, const Shift& shift, const std::string& path, bool dryRun);

}  // namespace berthd
