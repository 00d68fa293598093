// Walks a tree and never follows a link. Each entry is opened (O_PATH | O_NOFOLLOW), then examined and shifted through
// that descriptor, so that replacing the name has no effect. Where no other user can replace names, entries are not
// opened: that is half of the work. The directory's owner and mode tell.
#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

namespace berthd {
namespace {

constexpr size_t kEntriesSize = 32 << 10;
constexpr size_t kOutputSize = 16 << 10;
constexpr int kOpenEntry = O_PATH | O_NOFOLLOW | O_CLOEXEC;

int look(int fd, struct statx& status) { return statx(fd, "", AT_EMPTY_PATH, kStatus, &status) < 0 ? -errno : 0; }

bool isFolder(const struct statx& status) { return S_ISDIR(status.stx_mode); }

void writeAll(int fd, const std::string& text, std::atomic<int>& error) {
  for (size_t at = 0; at < text.size() && error == 0;) {
    const ssize_t written = write(fd, text.data() + at, text.size() - at);
    if (written >= 0) at += static_cast<size_t>(written);
    else if (errno != EINTR) error = errno;
  }
}

}  // namespace

unsigned processors() {
  cpu_set_t set;
  const int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return static_cast<unsigned>(std::clamp(count, 1, 8));
}

// Half of the descriptors are for directories; the rest is for the files in work.
size_t Walk::openFolders() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 16;
  return std::clamp<size_t>(limit.rlim_cur / 2, 1, 512);
}

struct Walk::Worker {
  explicit Worker(const WalkOptions& options) : owners(options.shift, options.dryRun) {}
  Owners owners;
  std::string output;
};

bool Walk::Links::isFirst(const struct statx& status) {
  const Key key = {static_cast<uint64_t>(status.stx_dev_major) << 32 | status.stx_dev_minor, status.stx_ino};
  const auto [found, isFirst] = left_.try_emplace(key, status.stx_nlink);
  if (--found->second == 0) left_.erase(found);
  return isFirst;
}

void Walk::begin(UniqueFd fd, std::string path, int done) {
  struct statx status;
  const Folder place{nullptr, path, 0, 0, 0};
  if (int error = look(fd.get(), status)) {
    complain(&place, "", {"examine", error});
  } else if (mount_ = status.stx_mnt_id; isFolder(status)) {
    UniqueFd folder(openat(fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.valid()) tree_.begin(std::move(folder), status, std::move(path));
    else complain(&place, "", {"read the directory", -errno});
  } else {
    Worker worker(options_);
    shift(worker, {fd.get(), -1, "", status}, &place);
    print(worker.output);
  }
  running_ = options_.threads;
  for (unsigned i = 0; i < options_.threads; i++) threads_.emplace_back([this, done] { work(done); });
}

void Walk::stop() {
  isStopped_ = true;
  tree_.stop();
}

void Walk::join() {
  for (std::thread& thread : threads_) thread.join();
}

Counts Walk::counts() const { return {shifted_, unchanged_, failed_, mounts_}; }

void Walk::work(int done) {
  Worker worker(options_);
  for (Task task = tree_.next(); task.folder != nullptr; task = tree_.next()) {
    const int fd = tree_.pin(task.folder);
    if (fd == -ENOENT) {
      // Removed since it was queued: there is nothing to shift.
    } else if (fd < 0) {
      complain(task.folder, "", {"read the directory", fd});
    } else {
      if (task.entries == nullptr) list(worker, task.folder, fd);
      else enter(worker, task.folder, fd, *task.entries);
      if (--task.folder->parts == 0 && !isStopped_) leave(worker, task.folder, fd);
      tree_.unpin(task.folder);
    }
    tree_.finish(task.folder);
  }
  print(worker.output);
  const uint64_t one = 1;
  // The last thread reports the end. This write to an eventfd does not block.
  if (--running_ == 0 && write(done, &one, sizeof one) < 0) abort();
}

void Walk::list(Worker& worker, Folder* folder, int fd) {
  struct statx status;
  if (int error = look(fd, status)) return complain(folder, "", {"examine", error});
  folder->isOurs = status.stx_uid == geteuid() && (status.stx_mode & (S_IWGRP | S_IWOTH)) == 0;
  Entries entries;
  bool isFirst = true;
  while (!isStopped_) {
    entries.resize(kEntriesSize);
    const long length = syscall(SYS_getdents64, fd, entries.data(), entries.size());
    if (length < 0) complain(folder, "", {"read the directory", -errno});
    if (length <= 0) return;
    entries.resize(static_cast<size_t>(length));
    // A directory that fits in one buffer is not shared: one thread is enough.
    if (isFirst || !tree_.share(folder, entries)) enter(worker, folder, fd, entries);
    isFirst = false;
  }
}

// The directory itself comes last. Until then it has its old owner, so no other user can change the names in it.
void Walk::leave(Worker& worker, Folder* folder, int fd) {
  struct statx status;
  if (int error = look(fd, status)) return complain(folder, "", {"examine", error});
  shift(worker, {fd, -1, "", status}, folder);
}

void Walk::enter(Worker& worker, Folder* folder, int fd, const Entries& entries) {
  for (size_t at = 0; at < entries.size() && !isStopped_;) {
    const auto* const entry = reinterpret_cast<const dirent64*>(&entries[at]);
    at += entry->d_reclen;
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) visit(worker, folder, fd, entry->d_name);
  }
}

void Walk::visit(Worker& worker, Folder* folder, int folderFd, const char* name) {
  struct statx status;
  UniqueFd fd;
  if (int error = lookAt(folder, folderFd, name, fd, status)) {
    // Removed since it was listed: there is nothing to shift.
    if (error != -ENOENT) complain(folder, name, {"examine", error});
    return;
  }
  if (status.stx_mnt_id != mount_ && !options_.crossMounts) {
    mounts_++;
  } else if (isFolder(status)) {
    tree_.add(folder, name, status);
  } else if (status.stx_nlink <= 1) {
    shiftEntry(worker, folder, folderFd, name, fd, status, true);
  } else {
    std::lock_guard hold(links_.lock);
    const bool isFirst = links_.isFirst(status);
    // An overlay without index makes the other names separate files, so each name is shifted.
    if (!isFirst && options_.dryRun) return;
    if (!isFirst && lookAt(folder, folderFd, name, fd, status) != 0) return;
    shiftEntry(worker, folder, folderFd, name, fd, status, isFirst);
  }
}

// Examines an entry through a descriptor, or by its name where no other user can change it.
int Walk::lookAt(Folder* folder, int folderFd, const char* name, UniqueFd& fd, struct statx& status) {
  if (!fd.valid() && folder->isOurs) {
    return statx(folderFd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, kStatus, &status) < 0 ? -errno : 0;
  }
  if (!fd.valid()) fd.reset(tree_.open(folderFd, name, kOpenEntry));
  return fd.valid() ? look(fd.get(), status) : fd.release();
}

void Walk::shiftEntry(Worker& worker, Folder* folder, int folderFd, const char* name, UniqueFd& fd, struct statx& status,
                      bool isCounted) {
  if (shift(worker, {fd.get(), folderFd, name, status}, folder, isCounted)) return;
  fd.reset(tree_.open(folderFd, name, kOpenEntry));
  const int error = fd.valid() ? look(fd.get(), status) : fd.release();
  if (error != 0) return complain(folder, name, {"open", error});
  shift(worker, {fd.get(), folderFd, name, status}, folder, isCounted);
}

// Returns false if the file must be opened first.
bool Walk::shift(Worker& worker, const File& file, const Folder* folder, bool isCounted) {
  Problem problem;
  switch (worker.owners.shift(file, problem)) {
    case Outcome::kNeedsDescriptor: return false;
    case Outcome::kFailed:
      if (problem.error != -ENOENT || file.fd >= 0) complain(folder, file.name, problem);
      return true;
    case Outcome::kUnchanged: unchanged_ += isCounted; return true;
    case Outcome::kShifted: shifted_ += isCounted; break;
  }
  if (!options_.verbose || !isCounted) return true;
  const Shift& to = options_.shift;
  const uint32_t uid = file.status.stx_uid, gid = file.status.stx_gid;
  char ids[64];
  snprintf(ids, sizeof ids, "%" PRIu32 ":%" PRIu32 " -> %" PRIu32 ":%" PRIu32 " .. ", uid, gid, to.map(uid), to.map(gid));
  worker.output += ids + printable(Tree::path(folder, file.name)) + '\n';
  if (worker.output.size() >= kOutputSize) print(worker.output);
  return true;
}

void Walk::complain(const Folder* folder, const char* name, const Problem& problem) {
  failed_++;
  const int error = -problem.error;
  std::atomic<int> ignored{0};
  const std::string sentence = programName() + std::string(": cannot ") + problem.doing + ' ' +
                               printable(Tree::path(folder, name)) + ": " + strerror(error) + "; " + remedy(error) +
                               '\n';
  std::lock_guard hold(output_);
  writeAll(STDERR_FILENO, sentence, ignored);
}

void Walk::print(std::string& text) {
  std::lock_guard hold(output_);
  writeAll(STDOUT_FILENO, text, outputError_);
  text.clear();
}

}  // namespace berthd
