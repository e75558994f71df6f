// Helpers of this folder's tests: shared vectors and small self-made logs.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "crypto/hash.h"
#include "evidence/eventlog/eventlog.h"

#define NEEDS_SHARED_DATA() \
  if (!std::filesystem::exists(CAIRN_SHARED_DATA)) GTEST_SKIP() << "shared data not present"

namespace cairn::eventlog {

inline std::filesystem::path shared(std::string_view name) { return std::filesystem::path(CAIRN_SHARED_DATA) / name; }
inline Bytes shared_bytes(std::string_view name) { return read_file(shared(name)).value(); }
inline Json shared_json(std::string_view name) { return parse_json(read_text(shared(name)).value()).value(); }

inline Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes out;
  for (const auto& p : parts) append(out, p);
  return out;
}
inline Bytes whole_event(std::uint32_t index, std::uint32_t type, std::string_view data) {
  return event_record(index, type, crypto::sha384(as_bytes(data)), as_bytes(data));
}
// Spec ID, a separator in RTMR0, an action in RTMR1, a GRUB command in RTMR2.
inline Bytes small_log() {
  const std::string action = "Exit Boot Services Invocation";
  return joined({spec_id_record(1, {Algorithm::sha384}),
                 whole_event(1, type::separator, std::string_view("\0\0\0\0", 4)),
                 whole_event(2, type::efi_action, action),
                 event_record(3, type::ipl, crypto::sha384(as_bytes(std::string_view("linux /vmlinuz\0", 15))),
                              as_bytes(std::string_view("grub_cmd linux /vmlinuz\0\x8f", 25)))});
}

}  // namespace cairn::eventlog
