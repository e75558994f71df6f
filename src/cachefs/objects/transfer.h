// Volumes into object stores and back, as they are: no key is needed. Beside the volume lies a list of its objects with
// the digest of every part, which gocryptfs and mounts take no notice of.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cachefs/objects/object_source.h"
#include "cachefs/store/manifest.h"

namespace cairn::cachefs {

// What an object consists of: parts of `part_bytes`, the last shorter, with their SHA-256.
struct IndexedObject {
  std::string path;  // below the prefix
  std::uint64_t size = 0, part_bytes = 0;
  std::vector<Digest<32>> parts;
};
// {"schema": "cairn.objects/1", "objects": [{"path", "size", "part_bytes", "parts": [hex]}]}, sorted by path.
[[nodiscard]] Result<std::string> write_object_index(const std::vector<IndexedObject>& objects);
[[nodiscard]] Result<std::vector<IndexedObject>> parse_object_index(std::string_view text);
// The size of a file's parts: kStorePartBytes, or as much as it takes to stay below kStorePartsMax parts.
[[nodiscard]] std::uint64_t part_bytes_of(std::uint64_t size);

struct PushOptions {
  std::filesystem::path source;  // a volume on disk
  std::string destination;       // s3://bucket/prefix
  StoreOptions store;
  bool replace = false;  // a volume that is there: gocryptfs.conf goes first, objects of others at the end
  unsigned threads = kStoreTransfersDefault;
  ProgressFn progress;
};
struct PullOptions {
  std::string source;
  std::filesystem::path destination;  // must not exist, or be an empty folder
  StoreOptions store;
  unsigned threads = kStoreTransfersDefault;
  ProgressFn progress;
};
struct TransferReport {
  std::uint64_t files = 0, bytes = 0;
  std::uint64_t resumed_bytes = 0;  // found whole from an interrupted run
  std::string index;                // "sha256:<hex>" of the list of objects; "" where pull found none
};

// Large files go in parts. Every part's digest is signed, so that the store refuses one that arrives damaged. An
// interrupted run goes on: parts and objects that the store has are compared and left. gocryptfs.conf comes last:
// before that there is no volume. already_exists where there is one; conflict where other objects lie there, or a file
// changes meanwhile; unsupported for links, which stores do not have.
[[nodiscard]] Result<TransferReport> push_volume(const PushOptions& options);
// Works in "<destination>.partial" and renames at the end. Every part is compared with the list where there is one;
// crypto_failed where it differs however often it is fetched.
[[nodiscard]] Result<TransferReport> pull_volume(const PullOptions& options);

}  // namespace cairn::cachefs
