// Where the verbs take passwords from.
#pragma once

#include <filesystem>

#include "base/secret.h"

namespace CLI {
class App;
}

namespace cairn::cli {

struct KeySource {
  std::filesystem::path file;  // its first line
  bool standard_input = false;
  std::filesystem::path new_file;  // made with a random password; must not exist
};
void add_key_options(CLI::App& app, KeySource& source, bool with_new);

// invalid_argument unless exactly one source is given; without any, a terminal is asked (twice when `confirm`).
// new_file: 43 characters of base64url (256 random bits) and a line feed, mode 0600.
[[nodiscard]] Result<Secret> take_key(const KeySource& source, bool confirm);

}  // namespace cairn::cli
