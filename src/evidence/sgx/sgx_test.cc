#include <gtest/gtest.h>

#include "base/encoding.h"
#include "evidence/sgx/pck_extension.h"
#include "evidence/sgx/report.h"

namespace cairn::sgx {
namespace {

PckExtension sample(bool platform) {
  PckExtension x;
  for (std::uint8_t i = 0; i < 16; ++i) {
    x.ppid[i] = i;
    x.components[i] = static_cast<std::uint8_t>(250 + i % 6);
    x.cpu_svn[i] = static_cast<std::uint8_t>(16 - i);
  }
  x.pce_svn = 65535;
  x.pce_id = {0, 1};
  x.fmspc = {0, 0x90, 0x6e, 0xa1, 0, 0};
  x.type = PlatformType::scalable_with_integrity;
  if (platform) {
    x.platform_instance_id.emplace().fill(0xee);
    x.has_configuration = true;
    x.dynamic_platform = true;
    x.smt_enabled = false;
  }
  return x;
}

TEST(PckExtension, WhatIsWrittenIsRead) {
  for (const bool platform : {false, true}) {
    const Result<PckExtension> read = parse_pck_extension(encode(sample(platform)));
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(*read, sample(platform));
  }
}

// Every truncation and every single changed byte is refused or changes a value: nothing is ignored but what is unknown.
TEST(PckExtension, IsStrict) {
  const Bytes good = encode(sample(true));
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(parse_pck_extension(ByteView(good).first(n))) << n;
  Bytes longer = good;
  longer.push_back(0);
  EXPECT_FALSE(parse_pck_extension(longer));
}

Bytes replaced(std::string_view from, std::string_view to) {
  std::string text = hex(encode(sample(true)));
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos);
  return from_hex(text.replace(at, from.size(), to)).value();
}

TEST(PckExtension, NumbersFlagsAndKindsAreInRange) {
  EXPECT_TRUE(parse_pck_extension(replaced("0201020200fa", "0201020200ff")));
  EXPECT_FALSE(parse_pck_extension(replaced("0201020200fa",
                                            "020102020100")));  // 256
  EXPECT_FALSE(parse_pck_extension(replaced("0201020200fa",
                                            "02010202fffa")));  // negative
  EXPECT_FALSE(parse_pck_extension(replaced("0201020200fa",
                                            "020102020012")));      // leading zero
  EXPECT_FALSE(parse_pck_extension(replaced("0a0102", "0a0103")));  // SGX type
  EXPECT_FALSE(parse_pck_extension(replaced("0101ff", "010101")));  // BOOLEAN
  // Entry 5 (SGX type) under the OID of entry 4 stands twice; under an unknown OID it is missing.
  EXPECT_FALSE(parse_pck_extension(replaced("060a2a864886f84d010d0105", "060a2a864886f84d010d0104")));
  EXPECT_FALSE(parse_pck_extension(replaced("060a2a864886f84d010d0105", "060a2a864886f84d010d0109")));
  // An entry that is not known is ignored: the configuration under another OID.
  const Result<PckExtension> read =
      parse_pck_extension(replaced("060a2a864886f84d010d0107", "060a2a864886f84d010d0120"));
  ASSERT_TRUE(read);
  EXPECT_FALSE(read->has_configuration);
}

TEST(Report, WhatIsWrittenIsRead) {
  Bytes bytes(kReportSize);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 7);
  Reader in(bytes);
  const Report r = parse_report(in).value();
  EXPECT_TRUE(in.empty());
  Writer out;
  write(r, out);
  EXPECT_EQ(out.view(), bytes);
  EXPECT_EQ(r.isv_svn, bytes[258] | bytes[259] << 8);
  Reader shorter(ByteView(bytes).first(383));
  EXPECT_FALSE(parse_report(shorter));
}

}  // namespace
}  // namespace cairn::sgx
