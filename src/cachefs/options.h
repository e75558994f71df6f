// What `cairn-cachefs mount` is told, from its command line or as one JSON document.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "cachefs/limits.h"
#include "cachefs/objects/store_target.h"
#include "gocryptfs/content.h"

namespace cairn::cachefs {

enum class Verify : std::uint8_t {
  none,  // what the format itself authenticates
  seal,  // the manifest before the mount is ready, and each MiB's seal whenever it is read
  full,  // the manifest, and every file's digest, before the mount is ready; seals too where the model has them
};
enum class Mode : std::uint8_t { automatic, streaming, resident, bounded };
enum class Serve : std::uint8_t {
  automatic,  // by FUSE; the memory itself where the kernel has no passthrough and everything is preloaded
  fuse,
  memory,  // the memory that holds the model is mounted, once everything is in it
};

struct MountOptions {
  std::filesystem::path source;      // the ciphertext folder, or "s3://bucket/prefix"
  StoreOptions store;                // for the latter
  std::filesystem::path mountpoint;  // an existing folder
  std::filesystem::path config;      // gocryptfs.conf elsewhere; "": inside the source
  std::filesystem::path passfile;    // "-": standard input
  bool wipe_passfile = false;        // overwrite and remove the file once it is read
  bool read_write = false;  // changes go through to the ciphertext; for volumes, not for models that are attested
  bool allow_other = true;
  bool nonempty = false;      // the mount point may hold files
  bool all_features = false;  // other than the default flags too
  gocryptfs::Holes holes = gocryptfs::Holes::deny;
  Verify verify = Verify::none;
  std::string expect_root;   // "sha384:<hex>" of the manifest; "": any
  bool fail_closed = false;  // after one integrity failure every read fails
  Mode mode = Mode::automatic;
  Serve serve = Serve::automatic;
  std::uint64_t memory_mib = 0;                // for the resident mode; 0: 60 % of what is available
  std::uint64_t cache_mib = kCacheMibDefault;  // for the bounded mode
  unsigned preload = 0;                        // percent in memory before the mount is ready (resident mode)
  unsigned threads = 0;                        // 0: by the cores
  unsigned read_ahead_kb = kReadAheadKbDefault;
  std::string type = "cairn";        // the mount shows as fuse.<type>
  std::string name;                  // shown as the mount's source; "": the source folder
  int ready_fd = -1;                 // "ready\n" is written there
  int notify_process = 0;            // gets SIGUSR1
  bool detach = false;               // standard streams go to /dev/null when ready
  std::filesystem::path ready_file;  // made when ready, removed at the end
  std::string status;                // "unix:/path" or "host:port" for /readyz, /status, /metrics; "": none
};

// {"source": "...", "mountpoint": "...", "passfile": "...", ...}: the names of the options with '_' for '-'.
// Unknown members are errors; all problems are reported at once.
[[nodiscard]] Result<MountOptions> parse_mount_options(std::string_view json);
// Problems between options; checked before anything is touched.
[[nodiscard]] Result<void> check_mount_options(const MountOptions& options);

[[nodiscard]] Result<Verify> verify_by_name(std::string_view name);
[[nodiscard]] Result<Mode> mode_by_name(std::string_view name);
[[nodiscard]] Result<Serve> serve_by_name(std::string_view name);

}  // namespace cairn::cachefs
