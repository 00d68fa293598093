// A directory tree that several threads go through: which directories wait, which are open, and who is done.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "shift.h"

namespace berthd {

// A directory that was met. It is named by its parent and opened through it, never by a whole path: a name that turns
// into a symbolic link leads nowhere.
struct Folder {
  Folder* const parent;  // outlives its children; nullptr: where it all begins
  const std::string name;
  const uint64_t mount, device, inode;

  // Whether nobody but us can change the names in it. Set before anybody looks at an entry.
  bool isOurs = false;
  // Parts that are being gone through; the last one shifts the directory itself.
  std::atomic<int> parts{1};

  // Under the tree's lock.
  int references = 1;  // whoever goes through it, and each child
  int pins = 0;        // who needs `fd` just now
  UniqueFd fd{};
  Folder *older = nullptr, *newer = nullptr;  // open ones, by last use
};

// Entries of a directory, as getdents64(2) gave them.
using Entries = std::vector<char>;

// What one thread does next: go through a directory, or through some of its entries.
struct Task {
  Folder* folder = nullptr;
  std::unique_ptr<Entries> entries;
};

class Tree {
 public:
  // At most about `budget` directories are kept open beyond those that are worked in.
  explicit Tree(size_t budget) : budget_(budget) {}
  ~Tree();

  // Begins at an open directory, which stays open.
  void begin(UniqueFd fd, const struct statx& status, std::string path);

  // The next task; none when the tree is done or somebody stops. Last in, first out: what waits stays little.
  Task next();
  // The task is done. Its folder may be gone afterwards.
  void finish(Folder* folder);
  void stop();

  // A directory in `parent`.
  void add(Folder* parent, const char* name, const struct statx& status);
  // Hands entries to a thread that has nothing to do, if there is one.
  bool share(Folder* folder, const Entries& entries);

  // The folder's descriptor, open until unpin(), or -errno; -ESTALE if another directory has taken its place.
  int pin(Folder* folder);
  void unpin(Folder* folder);

  // openat(2) that closes what can be opened again when there are too many.
  int open(int folder, const char* name, int flags);

  // The path of `name` in `folder`, as a person would write it.
  static std::string path(const Folder* folder, const char* name);

 private:
  void push(Task task);
  void release(Folder* folder);
  void use(Folder* folder);
  void forget(Folder* folder);
  bool closeOne();

  const size_t budget_;
  std::mutex lock_;
  std::condition_variable changed_;
  std::vector<Task> waiting_;
  size_t working_ = 0, idle_ = 0;
  bool isStopped_ = false;
  // The open folders: what was used longest ago is closed first, and with last in, first out needed last.
  Folder *oldest_ = nullptr, *newest_ = nullptr;
  size_t open_ = 0;
};

}  // namespace berthd
