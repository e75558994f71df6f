// The read-write mount: the ciphertext folder shown in clear, changed in place, as gocryptfs does it. One process; what
// is written has reached the ciphertext's file system when the call returns.
#pragma once

#include <functional>

#include "cachefs/options.h"
#include "gocryptfs/volume.h"

namespace cairn::cachefs {

// Serves until the mount is gone; returns false when the connection did not start.
[[nodiscard]] bool serve_writable(const MountOptions& options, const gocryptfs::Volume& volume, int root, int device,
                                  const std::function<void()>& on_ready);

}  // namespace cairn::cachefs
