// A directory tree that several threads walk: which directories are queued, which are open, and when all are done.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "shift.h"

namespace berthd {

// A directory of the tree. It is opened through its parent, never by a whole path, so a name that is replaced by a
// symbolic link is not followed.
struct Folder {
  Folder* const parent;  // outlives its children; nullptr for the root
  const std::string name;
  const uint64_t mount, device, inode;

  // Whether no other user can change the names in it. Set before any entry is read.
  bool isOurs = false;
  // Parts that threads work on. The last one to finish shifts the directory itself.
  std::atomic<int> parts{1};

  // Guarded by the tree's lock.
  int references = 1;  // each task and each child counts one
  int pins = 0;        // threads that use `fd` now
  UniqueFd fd{};
  Folder *older = nullptr, *newer = nullptr;  // the open folders, by last use
};

// Entries of a directory, as getdents64(2) writes them.
using Entries = std::vector<char>;

// Work for one thread: a whole directory, or some of its entries.
struct Task {
  Folder* folder = nullptr;
  std::unique_ptr<Entries> entries;
};

class Tree {
 public:
  // Keeps about `budget` directories open, besides those in use.
  explicit Tree(size_t budget) : budget_(budget) {}
  ~Tree();

  // Starts at an open directory, which stays open.
  void begin(UniqueFd fd, const struct statx& status, std::string path);

  // Waits for the next task. Returns none when the tree is done, or after stop(). The newest task comes first, which
  // keeps the queue short.
  Task next();
  // Ends a task. Its folder may be deleted.
  void finish(Folder* folder);
  void stop();

  // Queues a directory of `parent`.
  void add(Folder* parent, const char* name, const struct statx& status);
  // Gives entries to an idle thread. Returns false if there is none.
  bool share(Folder* folder, const Entries& entries);

  // Returns the folder's descriptor, open until unpin(), or -errno. -ESTALE: another directory is at its place now.
  int pin(Folder* folder);
  void unpin(Folder* folder);

  // openat(2). At EMFILE it closes a folder that can be opened again, and retries.
  int open(int folder, const char* name, int flags);

  // The path of `name` in `folder`, for messages.
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
  // The open folders. The one used longest ago is closed first: it is also the one needed last.
  Folder *oldest_ = nullptr, *newest_ = nullptr;
  size_t open_ = 0;
};

}  // namespace berthd
