// The program under the name gocryptfs: the common command lines of gocryptfs 2.4.0, with its exit codes.
#pragma once

#include <string>
#include <vector>

namespace cairn::cachefs {

// `words`: the command line without the program's name. Mounts only read; without -ro that is said on standard error.
[[nodiscard]] int run_dropin(const std::vector<std::string>& words);

}  // namespace cairn::cachefs
