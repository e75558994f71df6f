// Ways to break a machine on purpose, to see it refused. Each stops before the key or the prompt leaves.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace cairn::cli {

enum class Tamper {
  none,
  model,        // one bit of the ciphertext
  engine,       // another binary
  measurement,  // an RTMR extension that no log tells of
  eventlog,     // an entry dropped from the log
  quote,        // one bit of the quote
  replay,       // an old quote for a new nonce
  root,         // the simulator's root is not trusted
  tcb,          // a platform whose TCB is revoked
  key,          // the key broker holds another password
  mitm,         // a gateway without evidence, and one with somebody else's
};
[[nodiscard]] std::string_view name(Tamper tamper);
[[nodiscard]] Result<Tamper> tamper_named(std::string_view name);
[[nodiscard]] std::vector<std::string> tamper_names();  // without "none"

// A copy of `folder` (hard links where possible) in which one bit in the middle of its largest file differs.
[[nodiscard]] Result<void> copy_with_a_flipped_bit(const std::filesystem::path& folder,
                                                   const std::filesystem::path& destination);
// Removes the last but one line of an event log, as an attacker would to hide what was loaded.
[[nodiscard]] Result<void> drop_an_event(const std::filesystem::path& log);

}  // namespace cairn::cli
