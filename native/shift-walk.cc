// Goes through a tree without ever following a link: each entry is opened as what it is (O_PATH | O_NOFOLLOW), looked at
// and shifted through that descriptor, so that a name which is swapped meanwhile makes no difference.
#include "shift-walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

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

struct Walk::Worker {
  explicit Worker(const WalkOptions& options) : owners(options.shift, options.dryRun) {}
  Owners owners;
  std::string output;
};

bool Walk::Links::isFirst(const struct statx& status) {
  if (status.stx_nlink <= 1) return true;
  const Key key = {static_cast<uint64_t>(status.stx_dev_major) << 32 | status.stx_dev_minor, status.stx_ino};
  std::lock_guard hold(lock_);
  const auto [found, isFirst] = left_.try_emplace(key, status.stx_nlink);
  if (--found->second == 0) left_.erase(found);
  return isFirst;
}

void Walk::begin(UniqueFd fd, std::string path, int done) {
  // In an overlay without index=on they part at the first change: each has to be shifted.
  struct statfs system;
  linksAreOne_ = fstatfs(fd.get(), &system) < 0 || system.f_type != OVERLAYFS_SUPER_MAGIC;
  struct statx status;
  Problem problem = {"look at", look(fd.get(), status)};
  const Folder place{nullptr, path, 0, 0, 0};
  UniqueFd folder;
  if (problem.error == 0) {
    mount_ = status.stx_mnt_id;
    Worker worker(options_);
    shift(worker, {fd.get(), -1, "", status}, &place);
    print(worker.output);
    if (isFolder(status)) {
      folder.reset(openat(fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!folder.valid()) problem = {"read the directory", -errno};
    }
  }
  if (problem.error != 0) complain(&place, "", problem);
  if (folder.valid()) tree_.begin(std::move(folder), status, std::move(path));
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
      // Removed since it was met: there is nothing to shift.
    } else if (fd < 0) {
      complain(task.folder, "", {"read the directory", fd});
    } else {
      if (task.entries == nullptr) list(worker, task.folder);
      else enter(worker, task.folder, fd, *task.entries);
      tree_.unpin(task.folder);
    }
    tree_.finish(task.folder);
  }
  print(worker.output);
  const uint64_t one = 1;
  // The last of them: an eventfd takes it at once.
  if (--running_ == 0 && write(done, &one, sizeof one) < 0) abort();
}

void Walk::list(Worker& worker, Folder* folder) {
  const int fd = folder->fd.get();  // pinned
  Entries entries;
  bool isFirst = true;
  while (!isStopped_) {
    entries.resize(kEntriesSize);
    const long length = syscall(SYS_getdents64, fd, entries.data(), entries.size());
    if (length < 0) complain(folder, "", {"read the directory", -errno});
    if (length <= 0) return;
    entries.resize(static_cast<size_t>(length));
    // A directory that fits in one buffer is not worth two threads.
    if (isFirst || !tree_.share(folder, entries)) enter(worker, folder, fd, entries);
    isFirst = false;
  }
}

void Walk::enter(Worker& worker, Folder* folder, int fd, const Entries& entries) {
  for (size_t at = 0; at < entries.size() && !isStopped_;) {
    const auto* const entry = reinterpret_cast<const dirent64*>(&entries[at]);
    at += entry->d_reclen;
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) visit(worker, folder, fd, entry->d_name);
  }
}

void Walk::visit(Worker& worker, Folder* folder, int folderFd, const char* name) {
  UniqueFd fd(tree_.open(folderFd, name, kOpenEntry));
  if (!fd.valid()) {
    const int error = fd.release();
    if (error != -ENOENT) complain(folder, name, {"open", error});
    return;
  }
  struct statx status;
  if (int error = look(fd.get(), status)) return complain(folder, name, {"look at", error});
  if (status.stx_mnt_id != mount_ && !options_.crossMounts) {
    mounts_++;
    return;
  }
  if (isFolder(status)) {
    shift(worker, {fd.get(), folderFd, name, status}, folder);
    tree_.add(folder, name, status);
  } else if (!linksAreOne_ || links_.isFirst(status)) {
    shift(worker, {fd.get(), folderFd, name, status}, folder);
  }
}

void Walk::shift(Worker& worker, const File& file, const Folder* folder) {
  Problem problem;
  const Outcome outcome = worker.owners.shift(file, problem);
  switch (outcome) {
    case Outcome::kFailed: return complain(folder, file.name, problem);
    case Outcome::kUnchanged: unchanged_++; return;
    case Outcome::kShifted: shifted_++; break;
  }
  if (!options_.verbose) return;
  const Shift& to = options_.shift;
  const uint32_t uid = file.status.stx_uid, gid = file.status.stx_gid;
  char ids[64];
  snprintf(ids, sizeof ids, "%" PRIu32 ":%" PRIu32 " -> %" PRIu32 ":%" PRIu32 " .. ", uid, gid, to.map(uid), to.map(gid));
  worker.output += ids + printable(Tree::path(folder, file.name)) + '\n';
  if (worker.output.size() >= kOutputSize) print(worker.output);
}

void Walk::complain(const Folder* folder, const char* name, const Problem& problem) {
  failed_++;
  const int error = -problem.error;
  std::atomic<int> ignored{0};
  const std::string sentence = "shift-own: cannot " + std::string(problem.doing) + ' ' +
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
