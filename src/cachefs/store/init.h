// A new, empty volume in a folder that exists.
#pragma once

#include <filesystem>

#include "base/secret.h"
#include "gocryptfs/config.h"

namespace cairn::cachefs {

// already_exists when the folder is not empty, not_found when it is none. spec/gocryptfs.md §6.1.
[[nodiscard]] Result<void> init_volume(const std::filesystem::path& folder, ByteView password,
                                       gocryptfs::FeatureSet features = gocryptfs::kDefaultFeatures,
                                       std::uint8_t long_name_max = 255, int log_n = gocryptfs::kLogNDefault,
                                       const std::filesystem::path& config = {});

}  // namespace cairn::cachefs
