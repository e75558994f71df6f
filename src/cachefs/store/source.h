// Where ciphertext is read from: a folder of this machine, or what stands behind the same interface (objects/). A
// source is a snapshot; what changes underneath is an error, never data.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "cachefs/store/disk.h"

namespace cairn::cachefs {

// While it lives, this thread keeps a lock that others want: only as long as its reads are answered from memory. A
// source that has to wait (for a disk, a network) lets go of it first.
class QuickSection {
 public:
  explicit QuickSection(std::unique_lock<std::mutex>& lock) { current_ = &lock; }
  ~QuickSection() { current_ = nullptr; }
  QuickSection(const QuickSection&) = delete;
  QuickSection& operator=(const QuickSection&) = delete;
  [[nodiscard]] static bool active() { return current_ != nullptr; }
  static void leave() {
    if (auto* const lock = std::exchange(current_, nullptr)) lock->unlock();
  }

 private:
  static inline thread_local std::unique_lock<std::mutex>* current_ = nullptr;
};

// One ciphertext file, open for reading. Any number of threads at once.
class SourceFile {
 public:
  SourceFile() = default;
  virtual ~SourceFile() = default;
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;
  // Bytes read: fewer than asked only at the end of the file.
  [[nodiscard]] virtual Result<std::size_t> read(std::span<std::uint8_t> out, std::uint64_t offset,
                                                 std::string_view where) const = 0;
  // What was read there does not authenticate. True where it was a copy that is dropped now: another read may do
  // better.
  [[nodiscard]] virtual bool distrust(std::uint64_t offset, std::size_t size) const {
    (void)offset, (void)size;
    return false;
  }
};

class SourceFolder {
 public:
  SourceFolder() = default;
  virtual ~SourceFolder() = default;
  SourceFolder(const SourceFolder&) = delete;
  SourceFolder& operator=(const SourceFolder&) = delete;
  // As list_folder(), read_small() and read_link() of disk.h.
  [[nodiscard]] virtual Result<std::vector<DirEntry>> list(std::size_t limit) const = 0;
  [[nodiscard]] virtual Result<Bytes> read_small(const std::string& name, std::size_t limit) const = 0;
  [[nodiscard]] virtual Result<std::string> read_link(const std::string& name, std::size_t limit) const = 0;
};

// What the tree saw of a file: opening it later must find the same.
struct SeenFile {
  std::uint64_t inode = 0, size = 0;
};

// Counters of a source for `.stats` and /metrics: numbers since the source was made, in all processes.
struct SourceCounter {
  const char* name;  // without the prefix
  const char* help;
  std::uint64_t value;
};

class Source {
 public:
  Source() = default;
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  [[nodiscard]] virtual std::string text() const = 0;  // for messages
  [[nodiscard]] virtual Result<struct stat> root_status() const = 0;
  // Paths are relative to the source, '/'-separated; "" is its top. Links are never followed.
  [[nodiscard]] virtual Result<std::unique_ptr<SourceFolder>> folder(const std::string& path) const = 0;
  // conflict when the file is no longer what was seen.
  [[nodiscard]] virtual Result<std::unique_ptr<SourceFile>> file(const std::string& path,
                                                                 const SeenFile& seen) const = 0;
  // A descriptor for extended attributes; not_found where the source has none.
  [[nodiscard]] virtual Result<Fd> attributes(const std::string& path) const = 0;
  [[nodiscard]] virtual Result<std::string> config_text() const = 0;  // gocryptfs.conf; not_found without one
  [[nodiscard]] virtual std::vector<SourceCounter> counters() const { return {}; }
  // Ends the threads it may have: for whoever forks. What is read afterwards starts them again, in each process.
  virtual void rest() const {}
};

[[nodiscard]] Result<std::shared_ptr<const Source>> open_folder(const std::filesystem::path& folder);

}  // namespace cairn::cachefs
