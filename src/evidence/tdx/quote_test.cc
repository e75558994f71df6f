#include "evidence/tdx/quote.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "evidence/tdx/hardware_report.h"
#include "evidence/tdx/test_world.h"

namespace cairn::tdx {
namespace {

using testing::World;

Quote sample(std::uint16_t version, Body body) {
  Quote q;
  q.header.version = version;
  q.header.tee_type = std::holds_alternative<TdReport>(body) ? TeeType::tdx : TeeType::sgx;
  for (std::size_t i = 0; i < q.header.user_data.size(); ++i) q.header.user_data[i] = static_cast<std::uint8_t>(i);
  q.body = std::move(body);
  q.signature.fill(1);
  q.attestation_key.fill(2);
  q.qe_report.isv_svn = 0x0807;
  q.qe_report.reserved4.fill(9);
  q.qe_report_signature.fill(3);
  q.qe_auth_data = {4, 5};
  q.cert.data.assign(200, 'c');
  return q;
}

TdReport td(bool td15, bool extended) {
  TdReport t;
  t.td_attributes = 0x8000000010000000;
  t.rtmr[3].fill(7);
  if (td15) t.td15 = Td15{.tee_tcb_svn_2 = {1, 2, 3}, .mr_service_td = {}};
  if (extended) {
    t.extended.emplace().vm_id = 3;
    t.extended->current_service_td_attributes = 0x1122334455667788;
  }
  return t;
}

TEST(Quote, WhatIsWrittenIsRead) {
  const std::pair<std::uint16_t, Body> shapes[] = {
      {3, sgx::Report{}},    {4, sgx::Report{}},   {5, sgx::Report{}},  {4, td(false, false)},
      {5, td(false, false)}, {5, td(true, false)}, {5, td(true, true)},
  };
  for (const auto& [version, body] : shapes) {
    const Quote q = sample(version, body);
    const Bytes bytes = encode(q).value();
    const Result<ParsedQuote> parsed = parse_quote(bytes);
    ASSERT_TRUE(parsed) << version << ": " << parsed.error().text();
    EXPECT_EQ(parsed->quote, q);
    EXPECT_TRUE(equal(parsed->bytes, bytes));
    EXPECT_TRUE(equal(parsed->signed_bytes, encode_signed_part(q.header, q.body)));
    EXPECT_EQ(parsed->signed_bytes.size(), (version == 5 ? 54U : 48U) + body_size(q.body_type()));
  }
}

TEST(Quote, WriterRefusesWhatCannotBe) {
  EXPECT_FALSE(encode(sample(3, td(false, false))));
  EXPECT_FALSE(encode(sample(4, td(true, false))));
  EXPECT_FALSE(encode(sample(6, td(false, false))));
  Quote q = sample(4, td(false, false));
  q.header.tee_type = TeeType::sgx;
  EXPECT_FALSE(encode(q));
  q = sample(4, td(false, false));
  q.qe_auth_data.resize(65535);
  EXPECT_TRUE(encode(q));
  q.qe_auth_data.resize(65536);
  EXPECT_FALSE(encode(q));
  q = sample(4, td(false, false));
  q.cert.data.resize(kMaxCertDataSize);
  EXPECT_TRUE(parse_quote(encode(q).value()));
  q.cert.data.resize(kMaxCertDataSize + 1);
  EXPECT_FALSE(encode(q));
}

TEST(Quote, Version3MayLeaveOnlyZerosInItsAuthenticationData) {
  Quote q = sample(3, sgx::Report{});
  Bytes bytes = encode(q).value();
  bytes[432] = static_cast<std::uint8_t>(bytes[432] + 3);
  bytes.insert(bytes.end(), 3, 0);
  EXPECT_TRUE(parse_quote(bytes));
  bytes.back() = 1;
  EXPECT_FALSE(parse_quote(bytes));
}

TEST(Quote, ErrorsNameTheKindAndThePlace) {
  Bytes bytes = encode(sample(4, td(false, false))).value();
  const auto error = [&](std::size_t at, std::uint8_t value) {
    Bytes b = bytes;
    b[at] = value;
    return parse_quote(b).error();
  };
  EXPECT_EQ(error(0, 6).code, ErrorCode::unsupported);
  EXPECT_EQ(error(2, 3).where, "offset 2");
  EXPECT_EQ(error(4, 0x82).code, ErrorCode::unsupported);
  EXPECT_EQ(error(12, 0).where, "offset 12");
  EXPECT_EQ(error(635, 0xff).code, ErrorCode::malformed);
  EXPECT_EQ(parse_quote(ByteView(bytes).first(kMinQuoteSize - 1)).error().code, ErrorCode::malformed);
}

TEST(Quote, RealQuotesAreWrittenBackByteForByte) {
  const std::filesystem::path folder = std::filesystem::path(CAIRN_SHARED_DATA) / "tdx/real/quotes";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "shared data not present";
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const Bytes bytes = read_file(entry.path()).value();
    const Result<ParsedQuote> parsed = parse_quote(bytes);
    ASSERT_TRUE(parsed) << entry.path() << parsed.error().text();
    EXPECT_TRUE(equal(encode(parsed->quote).value(), parsed->bytes)) << entry.path();
    ++count;
  }
  EXPECT_GT(count, 5U);
}

HardwareReport hardware(std::uint8_t version, const Svn16& svn2) {
  HardwareReport r;
  r.version = version;
  r.cpu_svn.fill(1);
  r.mac.fill(2);
  r.td = td(true, version == 3);
  r.td.tee_tcb_svn = {5, 1, 7};
  r.td.td15->tee_tcb_svn_2 = svn2;
  if (version > 0) r.td.td15->mr_service_td.fill(8);
  if (version == 3) {
    r.td_valid = 3;
    r.td.extended = Td15Extended{};
    r.td.extended->vm_id = 1;
    r.td.extended->td_id.fill(6);
  }
  return r;
}

TEST(HardwareReport, WhatIsWrittenIsRead) {
  for (const std::uint8_t version : std::array<std::uint8_t, 3>{0, 1, 3}) {
    const HardwareReport r = hardware(version, {6, 1, 7});
    const Bytes bytes = encode(r);
    ASSERT_EQ(bytes.size(), kHardwareReportSize);
    const Result<HardwareReport> parsed = parse_hardware_report(bytes);
    ASSERT_TRUE(parsed) << parsed.error().text();
    EXPECT_EQ(*parsed, r);
    for (std::size_t at : {0U, 2U, 5U, 40U, 90U, 200U, 300U, 500U, 600U, 900U, 1023U}) {
      Bytes changed = bytes;
      changed[at] ^= 0x10;
      EXPECT_FALSE(parse_hardware_report(changed)) << at;
    }
  }
  EXPECT_FALSE(parse_hardware_report(Bytes(1023)));
}

TEST(HardwareReport, DecidesTheShapeOfTheQuote) {
  const Svn16 same = {5, 1, 7}, newer = {6, 1, 7};
  EXPECT_EQ(quote_shape(hardware(0, same))->version, 4);
  EXPECT_FALSE(quote_shape(hardware(0, same))->body.td15);
  EXPECT_EQ(quote_shape(hardware(0, newer))->version, 5);
  EXPECT_EQ(quote_shape(hardware(0, newer))->body.td15->mr_service_td, Register{});
  EXPECT_EQ(quote_shape(hardware(1, same))->version, 5);
  EXPECT_EQ(quote_shape(hardware(1, same))->body.td15->mr_service_td[0], 8);
  HardwareReport old = hardware(0, newer);
  old.tcb_valid = 0x1ff;
  EXPECT_EQ(quote_shape(old)->version, 4);
  EXPECT_EQ(quote_shape(hardware(3, same))->body.type(), BodyType::tdx15_extended);
  HardwareReport invalid = hardware(3, same);
  invalid.td_valid = 0;
  EXPECT_FALSE(quote_shape(invalid));
}

}  // namespace
}  // namespace cairn::tdx
