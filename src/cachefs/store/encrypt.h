// Plain model folders into gocryptfs volumes and back, without FUSE. What `cairn model encrypt` and `cairn up` call.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/secret.h"
#include "cachefs/store/manifest.h"
#include "cachefs/store/source.h"
#include "gocryptfs/config.h"

namespace cairn::cachefs {

struct EncryptOptions {
  std::filesystem::path source;       // a folder, or one file (the volume then holds that file)
  std::filesystem::path destination;  // must not exist, or be an empty folder
  Secret password;                    // as given to gocryptfs: no LF, 1 to 2048 bytes
  std::string name;                   // of the model in its manifest; "": the source's name
  gocryptfs::FeatureSet features = gocryptfs::kDefaultFeatures;
  int log_n = gocryptfs::kLogNDefault;
  bool manifest = true;  // write .cairn-manifest.json into the volume
  bool seals = false;    // write .cairn-seal.bin too, which the manifest then lists; needs `manifest`
  bool verify = true;    // read back and authenticate every block written before it counts
  unsigned threads = 0;  // 0: one per core
  ProgressFn progress;
};

struct EncryptReport {
  std::uint64_t files = 0, bytes = 0, cipher_bytes = 0;
  std::uint64_t resumed_files = 0;  // found whole from an interrupted run
  std::string manifest;             // its bytes; empty without one
  Digest<48> digest{};              // of the manifest
};

// Works in "<destination>.partial" and renames at the end, so that a destination that exists is whole. An interrupted
// run with the same password goes on where it stopped. Source files that change meanwhile are `conflict`.
[[nodiscard]] Result<EncryptReport> encrypt_model(const EncryptOptions& options);

struct DecryptOptions {
  std::filesystem::path source;          // a volume
  std::shared_ptr<const Source> opened;  // instead of a local folder
  std::filesystem::path destination;     // must not exist, or be an empty folder
  Secret password;
  bool all_features = true;  // volumes with other than the default flags too
  bool holes = true;         // full blocks of zeros read as zeros (sparse files)
  unsigned threads = 0;
  ProgressFn progress;
};
struct DecryptReport {
  std::uint64_t files = 0, bytes = 0;
};
// Writes plain text to disk, as asked. The same ".partial" rule; any damage ends it with the file named.
[[nodiscard]] Result<DecryptReport> decrypt_model(const DecryptOptions& options);

}  // namespace cairn::cachefs
