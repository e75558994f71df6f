// The model manifest of spec/guest.md §11.3: which plaintext files a model consists of. Its SHA-384 is the model's
// identity: measured in the TEE, registered as reference value, compared at mount.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "cachefs/store/digest.h"
#include "evidence/eventlog/measure.h"

namespace cairn::cachefs {

inline constexpr std::string_view kManifestName = ".cairn-manifest.json";

using eventlog::check_manifest_path;
using eventlog::Manifest;
using eventlog::ManifestFile;

// An entry with the digest in its place, and back.
[[nodiscard]] ManifestFile manifest_file(std::string path, std::uint64_t size, const ContentDigest& digest,
                                         bool executable);
[[nodiscard]] ContentDigest digest_of(const ManifestFile& file);

// eventlog::manifest_text and parse_manifest for models: a name of at most kManifestNameMax bytes, sizes that a volume
// can hold, no path that manifest_covers() leaves out.
[[nodiscard]] Result<std::string> write_manifest(const Manifest& manifest);
[[nodiscard]] Result<Manifest> parse_manifest(std::string_view text);
// False for .git*, .cache/**, *.lock and the manifest itself, which no manifest lists.
[[nodiscard]] bool manifest_covers(std::string_view path);
// SHA-384 of the manifest's bytes.
[[nodiscard]] Digest<48> manifest_digest(std::string_view text);
// "sha384:<96 hex>", the content of the measurement event.
[[nodiscard]] std::string measured_form(const Digest<48>& digest);

// Called from worker threads, one call at a time, at most about ten times a second and once at the end.
// False asks the work to stop: it then ends with `cancelled`.
struct Progress {
  std::string_view phase;  // "reading", "encrypting", "verifying", "decrypting", "checking"
  std::uint64_t bytes_done = 0, bytes_total = 0;
  std::uint64_t files_done = 0, files_total = 0;
};
using ProgressFn = std::function<bool(const Progress&)>;

// The manifest of a plain folder (or one file, which then is its only entry, under its own name). Links that stay
// inside are followed; .git*, .cache/**, *.lock and an existing manifest are left out. name "": the folder's name.
[[nodiscard]] Result<Manifest> manifest_of_plain(const std::filesystem::path& source, std::string_view name = {},
                                                 unsigned threads = 0, const ProgressFn& progress = {});

}  // namespace cairn::cachefs
