// For tests of this area: the shared vectors, or a skip where a clone has none.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "gocryptfs/content.h"

namespace cairn::gocryptfs::test {

inline std::optional<Json> shared_vectors() {
  const auto text = read_text(std::string(CAIRN_SHARED_DATA) + "/gocryptfs/vectors.json");
  if (!text) return std::nullopt;
  return parse_json(*text).value();
}
inline Bytes unhex(std::string_view text) { return from_hex(text).value(); }
inline Bytes unhex(const std::string& text) { return from_hex(text).value(); }
inline Bytes unhex(const char* text) { return from_hex(text).value(); }
inline Bytes unhex(const Json& value) { return unhex(value.get_ref<const std::string&>()); }
inline Secret secret(ByteView bytes) { return Secret(bytes); }

// "hello" as block 0: fixed values of each mode, computed with independent implementations.
struct KnownBlock {
  ContentMode mode;
  const char* key;
  const char* block;
};
inline constexpr const char* kKnownFileId = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf";
inline constexpr KnownBlock kKnownBlocks[] = {
    {ContentMode::aes_gcm, "ab893c7a9f8683d8c56296fdd109aa8d73c1937d112d1cf89923f9d175fbd782",
     "101112131415161718191a1b1c1d1e1fb2bac5432312acc6491a7ff8c17a0984f52b75a0bf"},
    {ContentMode::aes_siv,
     "aab6744f44e669aad9501e0416d8415e050afdbee2f6b096a920cca429f0416277b01ac99fa0f1a4179f93d2b9baf48f252e0c451a8e9a649"
     "8"
     "59016070750426",
     "101112131415161718191a1b1c1d1e1f9e05714de123f55d756566bb8903adcc06bbd8cd0e"},
    {ContentMode::xchacha, "e8ba539fa490653147a44ceb778a005eeb05de1828e6c7f2c16d4239a99f85bf",
     "000102030405060708090a0b0c0d0e0f10111213141516175f000b6626d4fe64b0b132ff5ed80b2bd365fd4033"},
};

}  // namespace cairn::gocryptfs::test

#define REQUIRE_SHARED_VECTORS(name)                                     \
  const auto name##_loaded = ::cairn::gocryptfs::test::shared_vectors(); \
  if (!name##_loaded) GTEST_SKIP() << "shared data not present";         \
  const ::cairn::Json& name = *name##_loaded
