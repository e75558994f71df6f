// Keeps watch over a run: whatever way it ends, killed included, nothing it started is left running, mounted or on
// disk.
#pragma once

#include <filesystem>
#include <functional>

#include "base/error.h"

namespace cairn::cli {

// A folder of the run's own on a file system that lives in memory, 0700; removed by `guarded`.
[[nodiscard]] Result<std::filesystem::path> make_run_folder();
// Unmounts what is mounted below `folder` (lazily where busy) and removes it.
void remove_run_folder(const std::filesystem::path& folder);

// Runs `body` in a child process and returns its exit code. SIGTERM, SIGINT and SIGHUP are passed on. When the child
// has ended, all its descendants are killed and `folder` is removed. 1 where the child was killed.
[[nodiscard]] int guarded(const std::filesystem::path& folder, const std::function<int()>& body);

}  // namespace cairn::cli
