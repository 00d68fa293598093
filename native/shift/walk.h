// Shifts the owners of one tree, with several threads.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "tree.h"

namespace berthd {

// The default number of threads: one for each processor, at most 8.
unsigned processors();

struct WalkOptions {
  Shift shift;
  bool dryRun = false;
  bool verbose = false;
  bool crossMounts = false;
  unsigned threads = processors();
};

constexpr unsigned kMaxThreads = 64;

class Walk {
 public:
  explicit Walk(const WalkOptions& options) : options_(options), tree_(openFolders()) {}

  // Starts the threads at the file `fd`, which messages call `path`. The last one to end writes to `done`, an eventfd.
  void begin(UniqueFd fd, std::string path, int done);
  // Makes each thread end after its present file.
  void stop();
  // Waits for the threads to end. Call it once, after `done` or stop().
  void join();

  Counts counts() const;
  // 0, or the errno of a failed write to standard output.
  int outputError() const { return outputError_; }

 private:
  struct Worker;
  // Files with several names. Each is counted at the first name, and forgotten at the last.
  class Links {
   public:
    bool isFirst(const struct statx& status);

    // Held while such a file is shifted: two threads at once would restore its mode bits wrongly.
    std::mutex lock;

   private:
    struct Key {
      uint64_t device, inode;
      bool operator==(const Key& other) const { return device == other.device && inode == other.inode; }
    };
    struct Hash {
      size_t operator()(const Key& key) const { return key.inode * 0x9e3779b97f4a7c15 ^ key.device; }
    };
    std::unordered_map<Key, uint32_t, Hash> left_;
  };

  static size_t openFolders();
  void work(int done);
  void list(Worker& worker, Folder* folder, int fd);
  void leave(Worker& worker, Folder* folder, int fd);
  void enter(Worker& worker, Folder* folder, int fd, const Entries& entries);
  void visit(Worker& worker, Folder* folder, int fd, const char* name);
  int lookAt(Folder* folder, int folderFd, const char* name, UniqueFd& fd, struct statx& status);
  void shiftEntry(Worker& worker, Folder* folder, int folderFd, const char* name, UniqueFd& fd, struct statx& status,
                  bool isCounted);
  bool shift(Worker& worker, const File& file, const Folder* folder, bool isCounted = true);
  void complain(const Folder* folder, const char* name, const Problem& problem);
  void print(std::string& text);

  const WalkOptions options_;
  Tree tree_;
  Links links_;
  uint64_t mount_ = 0;
  std::atomic<uint64_t> shifted_{0}, unchanged_{0}, failed_{0}, mounts_{0};
  std::atomic<bool> isStopped_{false};
  std::atomic<int> outputError_{0};
  std::atomic<unsigned> running_{0};
  std::mutex output_;
  std::vector<std::thread> threads_;
};

}  // namespace berthd
