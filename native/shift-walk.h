// A run of shift-own over one path, by several threads.
#pragma once

#include <atomic>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "shift-tree.h"

namespace berthd {

struct WalkOptions {
  Shift shift;
  bool dryRun = false;
  bool verbose = false;
  bool crossMounts = false;
  unsigned threads = 1;
  size_t openFolders = 16;
};

class Walk {
 public:
  explicit Walk(const WalkOptions& options) : options_(options), tree_(options.openFolders) {}

  // Begins with the file that `fd` is, called `path` from here on. `done` is written to when no thread works any more.
  void begin(UniqueFd fd, std::string path, int done);
  // Ends the threads after the file that each is at.
  void stop();
  // Waits for the threads. Call it once, after `done` or stop().
  void join();

  Counts counts() const;
  // 0, or the errno with which standard output failed.
  int outputError() const { return outputError_; }

 private:
  struct Worker;
  // Says which of a file's links is the first to be met, and forgets it with the last.
  class Links {
   public:
    bool isFirst(const struct statx& status);

   private:
    struct Key {
      uint64_t device, inode;
      bool operator==(const Key& other) const { return device == other.device && inode == other.inode; }
    };
    struct Hash {
      size_t operator()(const Key& key) const { return key.inode * 0x9e3779b97f4a7c15 ^ key.device; }
    };
    std::mutex lock_;
    std::unordered_map<Key, uint32_t, Hash> left_;
  };

  void work(int done);
  void list(Worker& worker, Folder* folder);
  void enter(Worker& worker, Folder* folder, int fd, const Entries& entries);
  void visit(Worker& worker, Folder* folder, int fd, const char* name);
  void shift(Worker& worker, const File& file, const Folder* folder);
  void complain(const Folder* folder, const char* name, const Problem& problem);
  void print(std::string& text);

  const WalkOptions options_;
  Tree tree_;
  Links links_;
  uint64_t mount_ = 0;
  // Whether the links of a file are the same file, as everywhere but in an overlay.
  bool linksAreOne_ = true;
  std::atomic<uint64_t> shifted_{0}, unchanged_{0}, failed_{0}, mounts_{0};
  std::atomic<bool> isStopped_{false};
  std::atomic<int> outputError_{0};
  std::atomic<unsigned> running_{0};
  std::mutex output_;
  std::vector<std::thread> threads_;
};

}  // namespace berthd
