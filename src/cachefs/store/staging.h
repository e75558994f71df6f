// "<destination>.partial": where a folder is made, to appear under its name only when it is whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/file.h"

namespace cairn::cachefs {

class Staging {
 public:
  // Makes the folder, or goes on with one that is there, and locks it against other runs. already_exists when the
  // destination is there and not an empty folder; invalid_argument when it lies inside `source`; too_large when the
  // disk has no room for `bytes`.
  [[nodiscard]] static Result<Staging> open(const std::filesystem::path& destination,
                                            const std::filesystem::path& source, std::uint64_t bytes);

  // A name that publish() would remove.
  [[nodiscard]] static bool is_temporary(std::string_view name);
  [[nodiscard]] int folder() const { return folder_.get(); }
  [[nodiscard]] std::string path() const { return partial_.string(); }
  // A whole file, by way of a temporary name; replaces what is there.
  [[nodiscard]] Result<void> write(const std::string& name, ByteView bytes, mode_t mode) const {
    return write_in(folder(), name, bytes, mode);
  }
  [[nodiscard]] Result<void> write_in(int folder, const std::string& name, ByteView bytes, mode_t mode) const;
  // Drops temporary files, brings everything to the disk, and renames to the destination.
  [[nodiscard]] Result<void> publish();

 private:
  std::filesystem::path partial_, destination_;
  Fd folder_;
};

}  // namespace cairn::cachefs
