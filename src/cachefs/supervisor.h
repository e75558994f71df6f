// The parent of the serving process: it owns the mount, so that the death of a worker is no more than a pause, and its
// own death no more than an unmount.
#pragma once

#include "cachefs/model.h"
#include "cachefs/options.h"

namespace cairn::cachefs {

// gocryptfs' exit codes (spec/gocryptfs.md §7.3), where a cause has one.
enum ExitCode : int {
  kExitOk = 0,
  kExitUsage = 1,
  kExitRefused = 3,  // integrity: the model is not what it should be
  kExitCipherDir = 6,
  kExitPassword = 9,
  kExitMountPoint = 10,
  kExitOther = 11,
  kExitWrongPassword = 12,
  kExitMountFailed = 19,
  kExitUnsupported = 27,
};
[[nodiscard]] int exit_code(const Error& error);

// Reads the password as the options say; otherwise as below.
[[nodiscard]] int run_mount(const MountOptions& options);
// Opens, verifies, mounts and serves until SIGTERM, SIGINT or an unmount from outside; nothing stays mounted. Call
// before any thread is started. Returns the process's exit code; errors were logged.
[[nodiscard]] int run_mount(const MountOptions& options, VolumeKey key);

}  // namespace cairn::cachefs
