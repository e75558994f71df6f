// A plain model folder (or one file) as a list: what encrypt and digest read.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "cachefs/store/digest.h"
#include "cachefs/store/manifest.h"
#include "cachefs/store/tree.h"

namespace cairn::cachefs {

struct PlainEntry {
  std::string path;  // relative; parents come before their children
  NodeType type = NodeType::file;
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::uint32_t mode = 0;
  std::string target;  // links
};

struct PlainSource {
  Fd root;                    // the folder, or the single file's folder
  std::string name;           // last part of the path given
  std::uint32_t mode = 0755;  // of the folder; 0755 for a single file
  std::int64_t mtime_ns = 0;
  std::vector<PlainEntry> entries;  // sorted by path bytes
  std::uint64_t bytes = 0, files = 0;

  // Where a link leads, without leaving the source; an index into entries.
  [[nodiscard]] std::optional<std::size_t> resolve(std::size_t entry) const;
  [[nodiscard]] std::optional<std::size_t> find(std::string_view path) const;
};

// unsupported, naming it: a device, socket or pipe. too_large past the limits of a tree.
[[nodiscard]] Result<PlainSource> scan_plain(const std::filesystem::path& source);

// Opens a file of the source; conflict when it is no longer what the scan saw.
[[nodiscard]] Result<Fd> open_plain(const PlainSource& source, const PlainEntry& entry);
[[nodiscard]] Result<void> unchanged(int fd, const PlainEntry& entry);

// The manifest of a source whose files have these digests (by index of entry).
[[nodiscard]] Result<Manifest> assemble_manifest(const PlainSource& source, std::string_view name,
                                                 const std::map<std::size_t, ContentDigest>& digests);

}  // namespace cairn::cachefs
