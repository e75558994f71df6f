#include "evidence/predict/firmware.h"

#include <gtest/gtest.h>

#include "base/cursor.h"
#include "base/encoding.h"
#include "crypto/hash.h"

namespace cairn::predict {
namespace {

Bytes guid(std::string_view text) { return from_hex(text).value(); }

// A small TDVF: `sections` described, 64 KiB of data, metadata found through the GUID table or the old pointer.
Bytes image(const std::vector<Section>& sections, bool table = true) {
  Bytes out(64U << 10);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
  Writer d;
  d.text("TDVF")
      .u32le(static_cast<std::uint32_t>(16 + 32 * sections.size()))
      .u32le(1)
      .u32le(static_cast<std::uint32_t>(sections.size()));
  for (const auto& s : sections)
    d.u32le(s.data_offset)
        .u32le(s.raw_size)
        .u64le(s.address)
        .u64le(s.memory_size)
        .u32le(static_cast<std::uint32_t>(s.type))
        .u32le((s.measured ? 1U : 0U) | (s.added_later ? 2U : 0U));
  const std::size_t at = out.size() - 4096;
  std::ranges::copy(d.view(), out.begin() + static_cast<std::ptrdiff_t>(at));
  const auto put = [&](std::size_t where, const Bytes& what) {
    std::ranges::copy(what, out.begin() + static_cast<std::ptrdiff_t>(where));
  };
  const std::size_t end = out.size() - 32;
  if (table) {
    Writer entries;
    entries.u32le(0xdead).u16le(22).bytes(guid("00112233445566778899aabbccddeeff"));  // another entry
    entries.u32le(4096).u16le(22).bytes(guid("35657ae44a989847865e4685a7bf8ec2"));
    entries.u16le(static_cast<std::uint16_t>(entries.size() + 18)).bytes(guid("de82b596b21ff745baeaa366c55a082d"));
    put(end - entries.size(), entries.view());
  } else {
    put(end, std::move(Writer().u32le(4096)).take());
  }
  return out;
}

std::vector<Section> some_sections() {
  return {{.data_offset = 0,
           .raw_size = 5000,
           .address = 0xFFC00000,
           .memory_size = 8192,
           .type = SectionType::bfv,
           .measured = true,
           .added_later = false},
          {.data_offset = 8192,
           .raw_size = 4096,
           .address = 0xFFD00000,
           .memory_size = 4096,
           .type = SectionType::cfv,
           .measured = false,
           .added_later = false},
          {.data_offset = 0,
           .raw_size = 0,
           .address = 0x809000,
           .memory_size = 8192,
           .type = SectionType::td_hob,
           .measured = false,
           .added_later = false},
          {.data_offset = 0,
           .raw_size = 0,
           .address = 0x900000,
           .memory_size = 4096,
           .type = SectionType::perm_mem,
           .measured = false,
           .added_later = true}};
}

TEST(Firmware, MetadataThroughTableOrPointer) {
  for (const bool table : {true, false}) {
    const auto sections = parse_firmware(image(some_sections(), table));
    ASSERT_TRUE(sections) << sections.error().text();
    ASSERT_EQ(sections->size(), 4U);
    EXPECT_EQ((*sections)[0].address, 0xFFC00000U);
    EXPECT_TRUE((*sections)[0].measured);
    EXPECT_TRUE((*sections)[3].added_later);
  }
}

// The rule written out once more, record by record, as an independent check.
Digest<48> by_hand(ByteView bytes, bool two_pass) {
  Bytes all;
  const auto record = [&](std::string_view name, std::uint64_t at) {
    Bytes block(128);
    std::ranges::copy(name, block.begin());
    for (unsigned i = 0; i < 8; ++i) block[16 + i] = static_cast<std::uint8_t>(at >> (8 * i));
    append(all, block);
  };
  const auto extend = [&](std::uint64_t page) {
    Bytes data(4096);
    for (std::size_t i = 0; i < 4096 && page + i < 5000; ++i) data[i] = bytes[page + i];
    for (std::size_t c = 0; c < 4096; c += 256) {
      record("MR.EXTEND", 0xFFC00000 + page + c);
      append(all, ByteView(data).subspan(c, 256));
    }
  };
  record("MEM.PAGE.ADD", 0xFFC00000);
  if (!two_pass) extend(0);
  record("MEM.PAGE.ADD", 0xFFC01000);
  if (two_pass) extend(0);
  extend(4096);
  record("MEM.PAGE.ADD", 0xFFD00000);
  record("MEM.PAGE.ADD", 0x809000);
  record("MEM.PAGE.ADD", 0x80A000);
  return crypto::sha384(all);
}

TEST(Firmware, MrtdInBothOrders) {
  const Bytes bytes = image(some_sections());
  const auto sections = parse_firmware(bytes).value();
  EXPECT_EQ(mrtd(bytes, sections, PageOrder::single_pass), by_hand(bytes, false));
  EXPECT_EQ(mrtd(bytes, sections, PageOrder::two_pass), by_hand(bytes, true));
  EXPECT_NE(by_hand(bytes, false), by_hand(bytes, true));
  EXPECT_EQ(configuration_volume_digest(bytes, sections).value(), crypto::sha384(ByteView(bytes).subspan(8192, 4096)));
}

TEST(Firmware, RefusesWhatBreaksTheRules) {
  const auto refused = [](auto change) {
    auto sections = some_sections();
    change(sections[0]);
    return !parse_firmware(image(sections)).has_value();
  };
  EXPECT_FALSE(refused([](Section&) {}));
  EXPECT_TRUE(refused([](Section& s) { s.address += 1; }));
  EXPECT_TRUE(refused([](Section& s) { s.memory_size = 0; }));
  EXPECT_TRUE(refused([](Section& s) { s.memory_size = 4096; }));  // raw size is larger
  EXPECT_TRUE(refused([](Section& s) { s.data_offset = 64U << 10; }));
  EXPECT_TRUE(refused([](Section& s) { s.data_offset = UINT32_MAX; }));
  EXPECT_TRUE(refused([](Section& s) { s.memory_size = kMaxMeasuredMemory; }));
  EXPECT_TRUE(refused([](Section& s) {
    s.address = UINT64_MAX - 4095;
    s.memory_size = 8192;
  }));
  EXPECT_TRUE(refused([](Section& s) { s.type = static_cast<SectionType>(9); }));
  EXPECT_FALSE(parse_firmware({}));
  EXPECT_FALSE(parse_firmware(Bytes(4096)));
  EXPECT_FALSE(parse_firmware(image(std::vector(kMaxSections + 1, some_sections()[1]))));
  EXPECT_TRUE(parse_firmware(image(std::vector(kMaxSections, some_sections()[1]))));
  EXPECT_EQ(parse_firmware(Bytes(kMaxFirmware + 1)).error().code, ErrorCode::too_large);
}

TEST(Firmware, EveryTruncationFails) {
  const Bytes bytes = image(some_sections());
  for (std::size_t cut = 1; cut < 5000; cut += 7)
    EXPECT_FALSE(parse_firmware(ByteView(bytes).first(bytes.size() - cut))) << cut;
}

}  // namespace
}  // namespace cairn::predict
