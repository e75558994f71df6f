// What a model's files are, by their beginnings: safetensors and GGUF. For people; nothing is decided by it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cachefs/store/tree.h"

namespace cairn::cachefs {

inline constexpr std::size_t kDescribeBytes = 1U << 20;  // of a file's beginning that are looked at

// One line: "safetensors, 290 tensors, 134515008 parameters, BF16", "GGUF v3, llama, 272 tensors, SmolLM2 135M".
// nullopt when the beginning is neither, or not well formed. `size` is the whole file's.
[[nodiscard]] std::optional<std::string> describe_beginning(ByteView beginning, std::uint64_t size);

// "path: description" for every file recognised; unreadable files are passed over.
[[nodiscard]] std::vector<std::string> describe_plain(const std::filesystem::path& source);
[[nodiscard]] std::vector<std::string> describe_volume(const OpenVolume& volume);

}  // namespace cairn::cachefs
