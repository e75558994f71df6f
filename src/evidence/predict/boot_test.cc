#include "evidence/predict/boot.h"

#include <gtest/gtest.h>

#include "base/cursor.h"
#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"

namespace cairn::predict {
namespace {

Digest<48> digest_of(const Json& text) { return Digest<48>::from(from_hex(text.get<std::string>()).value()).value(); }
std::uint64_t number(const Json& text) { return std::stoull(text.get<std::string>(), nullptr, 16); }

std::vector<Section> hob_sections(const Json& inputs) {
  std::vector<Section> out;
  for (const auto& pair : inputs["td_hob_and_temp_mem_sections"]) {
    Section s;
    s.address = number(pair[0]);
    s.memory_size = number(pair[1]);
    s.type = s.address == number(inputs["td_hob_base"]) ? SectionType::td_hob : SectionType::temp_mem;
    out.push_back(s);
  }
  return out;
}

TEST(Boot, TheWorkedExampleGivesTheRegistersOfItsQuote) {
  if (!std::filesystem::exists(CAIRN_SHARED_DATA)) GTEST_SKIP() << "shared data not present";
  const auto vectors =
      parse_json(read_text(std::string(CAIRN_SHARED_DATA) + "/tdx/reference-values.json").value()).value();
  const auto& in = vectors["inputs"];
  DirectBoot boot;
  boot.sections = hob_sections(in);
  boot.memory = vectors["machine"]["memory_bytes"].get<std::uint64_t>();
  boot.acpi = AcpiDigests{digest_of(in["acpi_loader_sha384"]), digest_of(in["acpi_rsdp_sha384"]),
                          digest_of(in["acpi_tables_sha384"])};
  boot.kernel = digest_of(in["kernel_authenticode_sha384"]);
  boot.command_line = digest_of(in["cmdline_sha384"]);
  boot.initrd = digest_of(in["initrd_sha384"]);
  for (const auto& event : vectors["rtmr0_events"])
    if (event[0] == "CFV") boot.cfv = digest_of(event[1]);
  const auto hob = td_hob(boot.sections, boot.memory);
  ASSERT_TRUE(hob) << hob.error().text();
  EXPECT_EQ(hob->size(), 440U);
  const auto out = direct_boot(boot);
  ASSERT_TRUE(out) << out.error().text();
  ASSERT_EQ(out->events0.size(), vectors["rtmr0_events"].size());
  for (std::size_t i = 0; i < out->events0.size(); ++i)
    if (const std::string wanted = vectors["rtmr0_events"][i][1]; wanted != "see inputs") {
      EXPECT_EQ(hex(out->events0[i].digest.view()), wanted) << out->events0[i].name;
    }
  EXPECT_EQ(hex(out->rtmr0->view()), vectors["quote"]["rtmr0"].get<std::string>());
  EXPECT_EQ(hex(out->rtmr1.view()), vectors["quote"]["rtmr1"].get<std::string>());
  EXPECT_EQ(hex(out->rtmr2.view()), vectors["quote"]["rtmr2"].get<std::string>());
  boot.command_line[0] ^= 1;
  EXPECT_NE(direct_boot(boot)->rtmr2, out->rtmr2);
}

Section section(SectionType type, std::uint64_t address, std::uint64_t size) {
  Section s;
  s.type = type;
  s.address = address;
  s.memory_size = size;
  return s;
}

TEST(Boot, HandOffBlocksForMoreMemory) {
  const std::vector<Section> sections = {section(SectionType::temp_mem, 0x10000, 0x1000),
                                         section(SectionType::td_hob, 0x1000, 0x1000),
                                         section(SectionType::bfv, 0xFFC00000, 0x1000)};
  const auto blocks = [&](std::uint64_t memory) { return (td_hob(sections, memory).value().size() - 56) / 48; };
  EXPECT_EQ(blocks(0x20000000), 5U);
  EXPECT_EQ(blocks(0xB0000000 - 4096), 5U);
  EXPECT_EQ(blocks(0xB0000000), 6U);
  EXPECT_FALSE(td_hob(sections, 0x8000));  // a section outside the memory
  EXPECT_FALSE(td_hob({section(SectionType::temp_mem, 0, 0x1000)}, 1U << 30));
  EXPECT_FALSE(
      td_hob({section(SectionType::td_hob, 0, 0x2000), section(SectionType::temp_mem, 0x1000, 0x1000)}, 1U << 30));
}

// A PE32+ file with two sections out of order, something behind them, and a certificate table.
Bytes pe(std::uint32_t certificates, std::size_t behind) {
  Bytes out(0x400 + 0x200 + behind + certificates);
  for (std::size_t i = 0x400; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(i);
  const auto put = [&](std::size_t at, const Writer& w) {
    std::ranges::copy(w.view(), out.begin() + static_cast<std::ptrdiff_t>(at));
  };
  put(0, Writer().text("MZ"));
  put(0x3C, Writer().u32le(0x80));
  put(0x80, Writer().u32le(0x4550).u16le(0x8664).u16le(2).zeros(12).u16le(160).u16le(0x22));
  constexpr std::size_t optional = 0x80 + 24;
  put(optional, Writer().u16le(0x20B));
  put(optional + 60, Writer().u32le(0x400).u32le(0xAABBCCDD));
  put(optional + 144, Writer().u32le(static_cast<std::uint32_t>(out.size() - certificates)).u32le(certificates));
  put(optional + 160, Writer().zeros(16).u32le(0x100).u32le(0x500).zeros(16));
  put(optional + 200, Writer().zeros(16).u32le(0x100).u32le(0x400).zeros(16));
  return out;
}

TEST(Boot, AuthenticodeLeavesOutChecksumAndCertificates) {
  Bytes image = pe(64, 40);
  const auto hash = authenticode(image, crypto::Hash::sha384).value();
  constexpr std::size_t optional = 0x80 + 24;
  Bytes by_hand(image.begin(), image.end() - 64);
  by_hand.erase(by_hand.begin() + optional + 144, by_hand.begin() + optional + 152);
  by_hand.erase(by_hand.begin() + optional + 64, by_hand.begin() + optional + 68);
  EXPECT_EQ(hex(hash), hex(crypto::sha384(by_hand).view()));
  for (const std::size_t covered : {std::size_t{2}, std::size_t{0x401}, std::size_t{0x5FF}, std::size_t{0x610}}) {
    Bytes changed = image;
    changed[covered] ^= 1;
    EXPECT_NE(authenticode(changed, crypto::Hash::sha384).value_or(Bytes{}), hash) << covered;
  }
  for (const std::size_t excluded : {optional + 65, image.size() - 1}) {
    Bytes changed = image;
    changed[excluded] ^= 1;
    EXPECT_EQ(authenticode(changed, crypto::Hash::sha384).value(), hash) << excluded;
  }
}

TEST(Boot, AuthenticodeRefusesBrokenImages) {
  const Bytes image = pe(64, 0);
  for (std::size_t n = 0; n < image.size(); n += 3) (void)authenticode(ByteView(image).first(n), crypto::Hash::sha384);
  for (std::size_t n = 0; n < 0x500; ++n)
    EXPECT_FALSE(authenticode(ByteView(image).first(n), crypto::Hash::sha384)) << n;
  constexpr std::size_t optional = 0x80 + 24;
  const auto broken = [&](std::size_t at, std::uint8_t value) {
    Bytes changed = image;
    changed[at] = value;
    return !authenticode(changed, crypto::Hash::sha384).has_value();
  };
  EXPECT_TRUE(broken(0, 'X'));
  EXPECT_TRUE(broken(0x3F, 0xFF));              // PE header far away
  EXPECT_TRUE(broken(optional, 0x0A));          // not PE32+
  EXPECT_TRUE(broken(optional + 63, 0xFF));     // SizeOfHeaders
  EXPECT_TRUE(broken(optional + 151, 0xFF));    // certificate size
  EXPECT_TRUE(broken(optional + 160 + 19, 1));  // section size
}

Bytes bzimage() {
  Bytes out(0x1000);
  std::ranges::copy(std::string_view("HdrS"), out.begin() + 0x202);
  out[0x206] = 0x0F;
  out[0x207] = 0x02;
  out[0x211] = 0x01;
  out[0x236] = 0x40;
  return out;
}

TEST(Boot, KernelHeaderIsPatchedAsQemuDoes) {
  const auto patched = patched_kernel(bzimage(), 0x123456, 4ULL << 30).value();
  EXPECT_EQ(patched[0x210], 0xB0);
  EXPECT_EQ(patched[0x211], 0x81);
  EXPECT_EQ(hex(ByteView(patched).subspan(0x224, 8)), "00fe000000000200");
  // Below 2 GiB minus the ACPI reserve, minus one, minus the size, rounded down.
  const std::uint64_t address = (0x80000000ULL - 0x28000 - 1 - 0x123456) & ~4095ULL;
  EXPECT_EQ(Reader(ByteView(patched).subspan(0x218)).u32le().value(), address);
  EXPECT_EQ(Reader(ByteView(patched).subspan(0x21C)).u32le().value(), 0x123456U);
  // The same for any memory above the split, and for exactly 2 GiB.
  EXPECT_EQ(patched_kernel(bzimage(), 0x123456, 0xB0000000).value(), patched);
  EXPECT_EQ(patched_kernel(bzimage(), 0x123456, 0x80000000).value(), patched);
  EXPECT_NE(patched_kernel(bzimage(), 0x123456, 0x40000000).value(), patched);
  const auto without = patched_kernel(bzimage(), 0, 4ULL << 30).value();
  EXPECT_EQ(hex(ByteView(without).subspan(0x218, 8)), "0000000000000000");
}

TEST(Boot, KernelsThatCannotBePatched) {
  EXPECT_FALSE(patched_kernel(Bytes(0x1000), 0, 1U << 30));
  EXPECT_FALSE(patched_kernel(ByteView(bzimage()).first(0x25F), 0, 1U << 30));
  Bytes old = bzimage();
  old[0x206] = 0x01;
  EXPECT_EQ(patched_kernel(old, 0, 1U << 30).error().code, ErrorCode::unsupported);
  EXPECT_FALSE(patched_kernel(bzimage(), 0xFFFFFFFF, 1U << 30));  // the initrd does not fit
  EXPECT_FALSE(patched_kernel(bzimage(), 1ULL << 33, 1ULL << 40));
}

TEST(Boot, CommandLineIsWideAndTerminated) {
  Bytes wide;
  for (const char c : std::string("ro initrd=initrd")) wide.insert(wide.end(), {static_cast<std::uint8_t>(c), 0});
  wide.insert(wide.end(), 2, 0);
  EXPECT_EQ(command_line_digest("ro", true).value(), crypto::sha384(wide));
  EXPECT_NE(command_line_digest("ro", false).value(), command_line_digest("ro", true).value());
  EXPECT_FALSE(command_line_digest("\xff", false));
}

}  // namespace
}  // namespace cairn::predict
