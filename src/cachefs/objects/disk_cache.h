// Ciphertext kept in a folder, piece by piece, over restarts. Nothing in it is trusted: a piece that does not
// authenticate is dropped and fetched again. Any thread; several processes may share a folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/bytes.h"
#include "base/file.h"

namespace cairn::cachefs {

class DiskCache {
 public:
  // Makes the folder with mode 0700 where it is missing; permission_denied where others may write to it. Pieces found
  // there are used.
  [[nodiscard]] static Result<std::unique_ptr<DiskCache>> open(const std::filesystem::path& folder,
                                                               std::uint64_t bytes_max);
  // The name under which a piece is kept: of what identifies it.
  [[nodiscard]] static std::string name_of(std::string_view identity);

  [[nodiscard]] bool load(const std::string& name, std::span<std::uint8_t> out);  // false: not there, or not that size
  void store(const std::string& name, ByteView bytes);  // drops the oldest to make room; failures are no matter
  void drop(const std::string& name);
  [[nodiscard]] std::uint64_t bytes() const;

 private:
  struct Kept {
    std::uint64_t size = 0;
    std::uint64_t used = 0;  // grows with every use
  };
  DiskCache(Fd folder, std::uint64_t bytes_max) : folder_(std::move(folder)), bytes_max_(bytes_max) {}
  [[nodiscard]] Result<void> scan();
  void forget(std::map<std::string, Kept>::iterator at);

  Fd folder_;
  std::uint64_t bytes_max_;
  mutable std::mutex mutex_;
  std::map<std::string, Kept> kept_;
  std::uint64_t bytes_ = 0, uses_ = 0;
};

}  // namespace cairn::cachefs
