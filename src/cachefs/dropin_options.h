// The command line of gocryptfs, as far as it is taken over. spec/gocryptfs.md §7.1.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "gocryptfs/config.h"

namespace cairn::cachefs {

struct DropinOptions {
  enum class Action { mount, init, passwd, info, fsck, speed, version, help };
  Action action = Action::mount;
  std::vector<std::string> paths;                // the ciphertext folder, and for a mount the mount point
  std::vector<std::filesystem::path> passfiles;  // contents are joined
  std::string extpass;                           // a program and its arguments, separated by blanks
  std::string master_key;                        // hex, dashes allowed; "stdin"
  bool zero_key = false;
  std::filesystem::path config;
  std::string name;
  bool foreground = false, quiet = false, read_only = false, allow_other = false, nonempty = false;
  int notify_process = 0;
  gocryptfs::FeatureSet features = gocryptfs::kDefaultFeatures;  // of a new volume
  int long_name_max = 255;
  int log_n = gocryptfs::kLogNDefault;
};

// Options with one or two dashes, before, between or after the paths; -o a,b is -a -b; -- ends them. An option that
// gocryptfs has and this program has not is `unsupported` by its name, any other invalid_argument.
[[nodiscard]] Result<DropinOptions> parse_dropin(const std::vector<std::string>& words);

}  // namespace cairn::cachefs
