// Answers the kernel's requests for one mount. spec/gocryptfs.md §12.6.
#pragma once

#include <functional>

#include "cachefs/model.h"
#include "cachefs/resident.h"

namespace cairn::cachefs {

// Called once: when the connection is up, and as much is preloaded as the options say.
using OnReady = std::function<void()>;

// Serves on the /dev/fuse descriptor until the mount is gone; returns 0 then, 1 when the connection broke otherwise.
// A worker that comes after another one (init_size is set) takes over: the kernel's first request is replayed to it,
// and the requests that the former worker had not answered are sent again.
// `resident` is nullptr in the streaming mode.
[[nodiscard]] int serve(Model& model, Resident* resident, int device, const OnReady& on_ready);

}  // namespace cairn::cachefs
