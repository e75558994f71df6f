// Whole-volume work on the ciphertext: check every block, digest the plaintext.
#pragma once

#include <vector>

#include "cachefs/store/manifest.h"
#include "cachefs/store/tree.h"

namespace cairn::cachefs {

struct CheckReport {
  std::uint64_t files = 0, bytes = 0;
  std::uint64_t damaged = 0;  // places; the list below is cut at kDamageListMax
  std::vector<Damage> damage;
  [[nodiscard]] bool clean() const { return damaged == 0; }
};
// Decrypts every block, link and extended attribute with `threads` threads. Damage is in the report, not an error.
[[nodiscard]] Result<CheckReport> check_volume(const OpenVolume& volume, gocryptfs::Holes holes, unsigned threads = 0,
                                               const ProgressFn& progress = {});

// The manifest of a volume's plaintext, computed by decrypting it.
[[nodiscard]] Result<Manifest> manifest_of_volume(const OpenVolume& volume, std::string_view name, unsigned threads = 0,
                                                  const ProgressFn& progress = {});
// The manifest stored in the volume, as its bytes; not_found without one.
[[nodiscard]] Result<std::string> stored_manifest(const OpenVolume& volume);
// Reads the seals that the manifest lists and binds the volume's files to them: every file the manifest lists must be
// sealed. not_found where the manifest lists no seals; crypto_failed where anything differs.
[[nodiscard]] Result<void> take_seals(OpenVolume& volume, const Manifest& manifest);
// The names and sizes only: no contents are read.
[[nodiscard]] Result<void> verify_names(const OpenVolume& volume, const Manifest& manifest);
// Every file as the manifest says, no file missing and none in excess; where = the first path that differs.
// The sizes and names are compared first, then the contents.
// Pins the id of every file the manifest covers: what is read later is what is verified after this.
[[nodiscard]] Result<void> pin_files(OpenVolume& volume);
// The plaintext at `offset`, whole; from several threads at once. Other than the default where it is kept elsewhere
// too.
using ReadFn = std::function<Result<void>(NodeId file, std::uint64_t offset, std::span<std::uint8_t> out)>;
[[nodiscard]] Result<void> verify_volume(const OpenVolume& volume, const Manifest& manifest, unsigned threads = 0,
                                         const ProgressFn& progress = {}, const ReadFn& read = {});

}  // namespace cairn::cachefs
