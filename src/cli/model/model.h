// `cairn model`: encrypted model folders made, read, checked and mounted. docs/model.md.
#pragma once

#include <iosfwd>

namespace CLI {
class App;
}

namespace cairn::cli {

// Exit codes of the verbs beside 0; those of gocryptfs where it has one.
inline constexpr int kModelFailed = 1;
inline constexpr int kModelRefused = 3;  // not what its manifest or the expected digest says
inline constexpr int kModelWrongPassword = 12;
inline constexpr int kModelDamaged = 26;  // fsck found damage
inline constexpr int kModelUnsupported = 27;

// Adds `model` with its verbs to `app`; the run of a verb sets `exit_code`.
void add_model(CLI::App& app, int& exit_code);

}  // namespace cairn::cli
