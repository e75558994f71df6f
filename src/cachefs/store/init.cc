#include "cachefs/store/init.h"

#include "base/file.h"
#include "crypto/random.h"
#include "gocryptfs/names.h"

namespace cairn::cachefs {

Result<void> init_volume(const std::filesystem::path& folder, ByteView password, gocryptfs::FeatureSet features,
                         std::uint8_t long_name_max, int log_n, const std::filesystem::path& config_file) {
  std::error_code ec;
  if (!std::filesystem::is_directory(folder, ec)) return fail(ErrorCode::not_found, folder.string(), "is not a folder");
  if (!std::filesystem::is_empty(folder, ec)) return fail(ErrorCode::already_exists, folder.string(), "is not empty");
  const Secret master_key = crypto::random_secret(gocryptfs::kMasterKeySize);
  CAIRN_TRY(const auto config, gocryptfs::wrap_master_key(master_key, password, features, long_name_max, log_n));
  const auto path = config_file.empty() ? folder / gocryptfs::kConfName : config_file;
  CAIRN_CHECK(write_text(path, gocryptfs::write_config(config), 0400));
  if (!features.has(gocryptfs::Feature::dir_iv)) return {};
  return write_file(folder / gocryptfs::kDirIvName, gocryptfs::random_dir_iv().view(), 0444);
}

}  // namespace cairn::cachefs
