// Walks a tree of any depth with a bounded number of descriptors: a queued directory may be closed, and is opened again
// through its parents.
#include "tree.h"

#include <errno.h>
#include <fcntl.h>

#include <algorithm>

namespace berthd {

namespace {

constexpr int kOpenFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

uint64_t deviceOf(const struct statx& status) {
  return static_cast<uint64_t>(status.stx_dev_major) << 32 | status.stx_dev_minor;
}

bool isSame(const Folder& folder, int fd) {
  struct statx now;
  return statx(fd, "", AT_EMPTY_PATH, kStatus, &now) == 0 && now.stx_ino == folder.inode &&
         deviceOf(now) == folder.device && now.stx_mnt_id == folder.mount;
}

}  // namespace

Tree::~Tree() {
  for (Task& task : waiting_) release(task.folder);
}

void Tree::begin(UniqueFd fd, const struct statx& status, std::string path) {
  auto* const root = new Folder{nullptr, std::move(path), status.stx_mnt_id, deviceOf(status), status.stx_ino};
  root->fd = std::move(fd);
  root->pins = 1;  // never unpinned: it has no name to be opened by again
  push({root, nullptr});
}

void Tree::push(Task task) {
  waiting_.push_back(std::move(task));
  changed_.notify_one();
}

Task Tree::next() {
  std::unique_lock hold(lock_);
  idle_++;
  changed_.wait(hold, [&] { return isStopped_ || !waiting_.empty() || working_ == 0; });
  idle_--;
  if (isStopped_ || waiting_.empty()) {
    changed_.notify_all();
    return {};
  }
  Task task = std::move(waiting_.back());
  waiting_.pop_back();
  working_++;
  return task;
}

void Tree::finish(Folder* folder) {
  std::lock_guard hold(lock_);
  release(folder);
  if (--working_ == 0) changed_.notify_all();
}

void Tree::stop() {
  std::lock_guard hold(lock_);
  isStopped_ = true;
  changed_.notify_all();
}

void Tree::add(Folder* parent, const char* name, const struct statx& status) {
  auto* const folder = new Folder{parent, name, status.stx_mnt_id, deviceOf(status), status.stx_ino};
  std::lock_guard hold(lock_);
  parent->references++;
  push({folder, nullptr});
}

bool Tree::share(Folder* folder, const Entries& entries) {
  std::lock_guard hold(lock_);
  // The idle threads take the queued tasks first.
  if (waiting_.size() >= idle_) return false;
  folder->references++;
  folder->parts++;
  push({folder, std::make_unique<Entries>(entries)});
  return true;
}

// A loop, because a chain of parents may be long.
void Tree::release(Folder* folder) {
  while (folder != nullptr && --folder->references == 0) {
    Folder* const parent = folder->parent;
    if (folder->fd.valid()) forget(folder);
    delete folder;
    folder = parent;
  }
}

int Tree::open(int folder, const char* name, int flags) {
  const auto attempt = [&] {
    const int fd = openat(folder, name, flags);
    return fd < 0 ? -errno : fd;
  };
  for (;;) {
    int fd = attempt();
    if (fd == -EMFILE) {
      std::lock_guard hold(lock_);
      if (closeOne()) continue;
      // Another thread may have closed all that could be closed since the attempt: the lock stops it from opening more.
      fd = attempt();
    }
    if (fd != -EINTR) return fd;
  }
}

int Tree::pin(Folder* folder) {
  std::vector<Folder*> closed;  // `folder` and its closed parents
  std::unique_lock hold(lock_);
  Folder* at = folder;
  // This ends: the root is always open.
  for (; !at->fd.valid(); at = at->parent) closed.push_back(at);
  at->pins++;
  use(at);
  while (!closed.empty()) {
    Folder* const child = closed.back();
    closed.pop_back();
    const int parent = at->fd.get();
    hold.unlock();
    UniqueFd fd(open(parent, child->name.c_str(), kOpenFolder));
    const int error = !fd.valid() ? fd.release() : isSame(*child, fd.get()) ? 0 : -ESTALE;
    hold.lock();
    at->pins--;
    if (error != 0) return error;
    if (!child->fd.valid()) child->fd = std::move(fd);  // unless another thread opened it first
    child->pins++;
    use(child);
    at = child;
    while (open_ > budget_ && closeOne()) continue;
  }
  return folder->fd.get();
}

void Tree::unpin(Folder* folder) {
  std::lock_guard hold(lock_);
  folder->pins--;
}

void Tree::use(Folder* folder) {
  if (folder == newest_) return;
  if (folder == oldest_ || folder->older != nullptr) forget(folder);
  folder->older = newest_;
  (newest_ == nullptr ? oldest_ : newest_->newer) = folder;
  newest_ = folder;
  open_++;
}

void Tree::forget(Folder* folder) {
  // An open root that was never used is not in the list.
  if (folder != oldest_ && folder->older == nullptr) return;
  (folder->older == nullptr ? oldest_ : folder->older->newer) = folder->newer;
  (folder->newer == nullptr ? newest_ : folder->newer->older) = folder->older;
  folder->older = folder->newer = nullptr;
  open_--;
}

bool Tree::closeOne() {
  for (Folder* folder = oldest_; folder != nullptr; folder = folder->newer) {
    if (folder->pins > 0) continue;
    forget(folder);
    folder->fd.reset();
    return true;
  }
  return false;
}

std::string Tree::path(const Folder* folder, const char* name) {
  std::vector<const std::string*> parts;
  for (; folder != nullptr; folder = folder->parent) parts.push_back(&folder->name);
  std::string path;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (!path.empty() && path.back() != '/') path += '/';
    path += **part;
  }
  if (*name != '\0' && path.back() != '/') path += '/';
  return path + name;
}

}  // namespace berthd
