// Structured log lines on standard error: time, level, program, message, key=value pairs.
#pragma once

#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

#include "base/error.h"

namespace cairn {

enum class LogFormat { text, json };

// Once, first thing in a main. Level from `level`, else CAIRN_LOG, else RUST_LOG's plain level, else info.
// Unknown levels are invalid_argument.
[[nodiscard]] Result<void> start_logging(std::string_view program, std::string_view level = {},
                                         LogFormat format = LogFormat::text);

// Text from outside, safe on a terminal and in a line: control characters escaped, cut at `limit` bytes.
[[nodiscard]] std::string printable(std::string_view text, std::size_t limit = 256);

}  // namespace cairn
