#include "device/linux_tdx.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>

#include "base/cursor.h"
#include "base/encoding.h"
#include "base/file.h"
#include "base/test_folder.h"
#include "crypto/hash.h"
#include "evidence/eventlog/eventlog.h"
#include "evidence/tdx/hardware_report.h"
#include "evidence/tdx/quote.h"

namespace cairn::device {
namespace {

Bytes some_quote(const ReportData& data) {
  tdx::Quote quote;
  tdx::TdReport body;
  body.report_data = data;
  quote.body = body;
  quote.qe_auth_data = Bytes(32);
  quote.cert.data = Bytes(600, 'x');
  return tdx::encode(quote).value();
}

// A kernel with what each test switches on.
struct Fake {
  bool tsm = false, device = false, measurements = false, extend_ioctl = false;
  int library = ENOSYS;  // 0: libtdx_attest works
  unsigned long quote_ioctl = 0;
  std::string provider = "tdx_guest\n";
  int outblob_error = 0, errors_left = 0;
  int interference_left = 0;
  std::uint64_t status = 0;
  std::uint32_t qgs_error = 0;
  std::size_t padding = 70;
  std::map<std::string, Bytes> files;                    // by path
  std::map<std::string, std::pair<Bytes, int>> entries;  // report entries: inblob, generation
  std::vector<Kernel::Entry> stale;
  std::vector<std::string> removed;
  std::array<Digest<48>, 4> rtmr{};
  Bytes asked;
  unsigned quotes = 0;

  void extend(std::size_t index, ByteView value) {
    Bytes both = to_bytes(rtmr[index].view());
    append(both, value);
    rtmr[index] = crypto::sha384(both);
  }
  Bytes qgs_answer(ByteView frame) {
    asked = to_bytes(frame);
    ReportData data;
    std::ranges::copy(frame.subspan(4 + 16 + 8 + 128, 64), data.begin());
    const Bytes quote = some_quote(data);
    Writer body;
    body.u16le(1).u16le(1).u32le(1).u32le(static_cast<std::uint32_t>(24 + quote.size())).u32le(qgs_error);
    body.u32le(0).u32le(static_cast<std::uint32_t>(quote.size())).bytes(quote);
    return std::move(body).take();
  }
};

class FakeKernel final : public Kernel {
 public:
  FakeKernel(Fake& fake, LinuxPaths paths) : f_(fake), p_(std::move(paths)) {}

  bool exists(const std::filesystem::path& path) override {
    if (path == p_.tsm_reports) return f_.tsm;
    if (path == p_.device) return f_.device;
    if (path.parent_path() == p_.measurements) return f_.measurements;
    return f_.files.contains(path);
  }
  Answer<> make_dir(const std::filesystem::path& path) override {
    f_.entries[path] = {};
    return {};
  }
  Answer<> remove_dir(const std::filesystem::path& path) override {
    f_.removed.push_back(path.filename());
    f_.entries.erase(path);
    return {};
  }
  std::vector<Entry> list(const std::filesystem::path&) override { return f_.stale; }

  Answer<Bytes> read(const std::filesystem::path& path, std::size_t limit, std::uint64_t offset) override {
    if (const auto entry = f_.entries.find(path.parent_path()); entry != f_.entries.end())
      return attribute(path.filename(), entry->second);
    if (path.parent_path() == p_.measurements && f_.measurements) {
      const std::string file = path.filename();
      if (file == "mrconfigid") return Bytes(48, 0xCC);
      return to_bytes(f_.rtmr.at(static_cast<std::size_t>(file.at(4) - '0')).view());
    }
    const auto found = f_.files.find(path);
    if (found == f_.files.end()) return std::unexpected(ENOENT);
    Bytes out(found->second.begin() + static_cast<std::ptrdiff_t>(offset), found->second.end());
    if (out.size() > limit) out.resize(limit);
    return out;
  }
  Answer<> write(const std::filesystem::path& path, ByteView bytes) override {
    if (const auto entry = f_.entries.find(path.parent_path()); entry != f_.entries.end()) {
      if (path.filename() != "inblob" || bytes.size() != 64) return std::unexpected(EINVAL);
      entry->second = {to_bytes(bytes), entry->second.second + 1};
      return {};
    }
    if (bytes.size() != 48 || !f_.measurements) return std::unexpected(EINVAL);
    f_.extend(static_cast<std::size_t>(path.filename().string().at(4) - '0'), bytes);
    return {};
  }
  Answer<> control(const std::filesystem::path& path, unsigned long request,
                   std::span<std::uint8_t> argument) override {
    if (path != p_.device || !f_.device) return std::unexpected(ENOENT);
    if (request == 0xC4405401 && argument.size() == 1088) {
      tdx::HardwareReport report;
      std::ranges::copy(argument.first(64), report.td.report_data.begin());
      report.td.rtmr = f_.rtmr;
      report.td.mr_config_id.fill(0xDD);
      report.td.td15 = tdx::Td15{};
      std::ranges::copy(tdx::encode(report), argument.begin() + 64);
      return {};
    }
    if (request == 0x40315403 && f_.extend_ioctl && argument.size() == 49) {
      f_.extend(argument[48], argument.first(48));
      return {};
    }
    return std::unexpected(ENOTTY);
  }
  Answer<> control_buffer(const std::filesystem::path&, unsigned long request,
                          std::span<std::uint8_t> buffer) override {
    if (request != f_.quote_ioctl) return std::unexpected(ENOTTY);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 4096, 0U);
    Reader in(buffer);
    EXPECT_EQ(in.u64le().value(), 1U);
    EXPECT_TRUE(in.skip(8));
    const auto length = in.u32le().value();
    EXPECT_TRUE(in.skip(4));
    const Bytes body = f_.qgs_answer(in.bytes(length).value());
    Writer out;
    out.u64le(1).u64le(f_.status).u32le(length).u32le(static_cast<std::uint32_t>(4 + body.size()));
    out.u32be(static_cast<std::uint32_t>(body.size())).bytes(body);
    std::ranges::copy(out.view(), buffer.begin());
    return {};
  }
  Answer<> library_extend(unsigned index, ByteView value) override {
    if (f_.library != 0) return std::unexpected(f_.library);
    f_.extend(index, value);
    return {};
  }
  Answer<Bytes> ask_host(std::uint32_t port, ByteView frame, std::size_t) override {
    if (port != 4050) return std::unexpected(ECONNREFUSED);
    return f_.qgs_answer(frame);
  }

 private:
  Answer<Bytes> attribute(const std::string& name, std::pair<Bytes, int>& entry) {
    if (name == "provider") return to_bytes(as_bytes(f_.provider));
    if (name == "generation") {
      if (f_.interference_left > 0 && f_.interference_left--) ++entry.second;
      return to_bytes(as_bytes(std::to_string(entry.second) + "\n"));
    }
    if (name != "outblob" || entry.first.size() != 64) return std::unexpected(EINVAL);
    if (f_.errors_left > 0) {
      --f_.errors_left;
      return std::unexpected(f_.outblob_error);
    }
    ++f_.quotes;
    ReportData data;
    std::ranges::copy(entry.first, data.begin());
    Bytes out = some_quote(data);
    out.resize(out.size() + f_.padding);
    return out;
  }
  Fake& f_;
  LinuxPaths p_;
};

class LinuxTdxTest : public testing::Test {
 protected:
  Result<std::unique_ptr<Tee>> open() { return open_linux_tdx(paths_, std::make_unique<FakeKernel>(fake_, paths_)); }
  ReportData nonce() {
    ReportData out;
    out.fill(0x5A);
    return out;
  }
  LinuxPaths paths_;
  Fake fake_;
};

TEST_F(LinuxTdxTest, NothingThereIsSaidPlainly) {
  const auto tee = open();
  ASSERT_FALSE(tee);
  EXPECT_EQ(tee.error().code, ErrorCode::unavailable);
  EXPECT_TRUE(tee.error().message.contains("--tee simulated"));
}

TEST_F(LinuxTdxTest, AnotherVendorsProviderIsNotTdx) {
  fake_.tsm = true;
  fake_.provider = "sev_guest\n";
  EXPECT_FALSE(open());
  EXPECT_TRUE(fake_.entries.empty());
}

TEST_F(LinuxTdxTest, QuoteThroughConfigfsIsCutToItsLength) {
  fake_.tsm = true;
  const auto tee = open().value();
  EXPECT_FALSE(tee->simulated());
  EXPECT_EQ(tee->quote(nonce()).value(), some_quote(nonce()));
  EXPECT_TRUE(fake_.entries.empty());  // cleaned up
}

TEST_F(LinuxTdxTest, InterferenceAndBusyAreTriedAgainInAFreshEntry) {
  fake_.tsm = true;
  const auto tee = open().value();
  fake_.interference_left = 2;
  EXPECT_TRUE(tee->quote(nonce()));
  EXPECT_EQ(fake_.quotes, 3U);
  fake_.outblob_error = EBUSY;
  fake_.errors_left = 1;
  EXPECT_TRUE(tee->quote(nonce()));
  fake_.interference_left = 1000;
  EXPECT_EQ(tee->quote(nonce()).error().code, ErrorCode::conflict);
  EXPECT_TRUE(fake_.entries.empty());
}

TEST_F(LinuxTdxTest, TimeOutsAndHostErrorsAreNotRetried) {
  fake_.tsm = true;
  const auto tee = open().value();
  fake_.errors_left = 1;
  fake_.outblob_error = ETIMEDOUT;
  EXPECT_EQ(tee->quote(nonce()).error().code, ErrorCode::timed_out);
  fake_.errors_left = 1;
  fake_.outblob_error = EIO;
  EXPECT_EQ(tee->quote(nonce()).error().code, ErrorCode::io_failed);
}

TEST_F(LinuxTdxTest, SweepsOnlyItsOwnOldEntries) {
  fake_.tsm = true;
  fake_.stale = {{"cairn-old", 10000}, {"cairn-new", 5}, {"com.intel.dcap", 10000}};
  ASSERT_TRUE(open());
  EXPECT_EQ(fake_.removed.front(), "cairn-old");
  EXPECT_FALSE(std::ranges::contains(fake_.removed, "cairn-new"));
  EXPECT_FALSE(std::ranges::contains(fake_.removed, "com.intel.dcap"));
}

TEST_F(LinuxTdxTest, QuoteOverVsockOnlyWhereConfigured) {
  fake_.device = true;
  fake_.files[paths_.qgs_config] = to_bytes(as_bytes("# QGS\n port = 4050\n"));
  const auto tee = open().value();
  EXPECT_EQ(tee->quote(nonce()).value(), some_quote(nonce()));
  EXPECT_EQ(hex(ByteView(fake_.asked).first(28)),
            "00000418"
            "01000100"
            "00000000"
            "18040000"
            "00000000"
            "00040000"
            "00000000");
  fake_.qgs_error = 0x12001;
  EXPECT_TRUE(tee->quote(nonce()).error().message.contains("00012001"));
  fake_.files.clear();
  EXPECT_EQ(open().value()->quote(nonce()).error().code, ErrorCode::unsupported);
}

TEST_F(LinuxTdxTest, QuoteThroughEitherIoctl) {
  fake_.device = true;
  for (const unsigned long request : {0x80105404UL, 0xC0105404UL}) {
    fake_.quote_ioctl = request;
    EXPECT_EQ(open().value()->quote(nonce()).value(), some_quote(nonce()));
  }
  fake_.status = 0x8000000000000000;
  EXPECT_EQ(open().value()->quote(nonce()).error().code, ErrorCode::io_failed);
}

TEST_F(LinuxTdxTest, RegistersThroughFilesOrIoctl) {
  fake_.device = true;
  const auto value = crypto::sha384(as_bytes("v"));
  for (const bool files : {true, false}) {
    fake_.measurements = files;
    fake_.extend_ioctl = !files;
    const auto tee = open().value();
    ASSERT_TRUE(tee->extend_rtmr(3, value)) << files;
    EXPECT_EQ(tee->read_rtmr(3).value(), fake_.rtmr[3]);
    EXPECT_EQ(tee->mr_config_id().value()[0], files ? 0xCC : 0xDD);
    EXPECT_EQ(tee->extend_rtmr(1, value).error().code, ErrorCode::permission_denied);
    EXPECT_EQ(tee->extend_rtmr(4, value).error().code, ErrorCode::invalid_argument);
  }
  fake_.extend_ioctl = false;
  EXPECT_EQ(open().value()->extend_rtmr(3, value).error().code, ErrorCode::unsupported);
  fake_.library = EIO;
  EXPECT_EQ(open().value()->extend_rtmr(3, value).error().code, ErrorCode::io_failed);
  fake_.library = 0;
  const auto before = fake_.rtmr[3];
  EXPECT_TRUE(open().value()->extend_rtmr(3, value));
  EXPECT_NE(fake_.rtmr[3], before);
}

TEST_F(LinuxTdxTest, EventLogFromDataFileOrMemory) {
  fake_.device = true;
  EXPECT_EQ(open().value()->ccel().error().code, ErrorCode::not_found);
  fake_.files[paths_.ccel_table] =
      eventlog::ccel_table_bytes({.cc_type = 2, .cc_subtype = 0, .length = 100, .address = 7});
  fake_.files[paths_.memory] = Bytes(200, 0xEE);
  EXPECT_EQ(open().value()->ccel().value(), Bytes(100, 0xEE));
  fake_.files[paths_.ccel_data] = Bytes(50, 0xAA);
  EXPECT_EQ(open().value()->ccel().value(), Bytes(50, 0xAA));
}

TEST(QgsConfig, FirstPortLineCounts) {
  EXPECT_EQ(parse_qgs_config("port=4050"), 4050U);
  EXPECT_EQ(parse_qgs_config("#port=1\n\tport =  4051 \nport=2\n"), 4051U);
  for (const std::string_view none : {"", "port=0", "port=12x", "port=", "report=5", "# port=4050", "port=99999999999"})
    EXPECT_EQ(parse_qgs_config(none), 0U) << none;
}

TEST(QgsResponse, EveryTruncationIsAnError) {
  Fake fake;
  const Bytes body = fake.qgs_answer(qgs_quote_request(Bytes(1024)));
  EXPECT_TRUE(parse_qgs_quote_response(body));
  for (std::size_t n = 0; n < body.size(); ++n) EXPECT_FALSE(parse_qgs_quote_response(ByteView(body).first(n))) << n;
  Bytes longer = body;
  longer.push_back(0);
  EXPECT_FALSE(parse_qgs_quote_response(longer));
}

TEST(RealKernel, FilesAndErrors) {
  const auto kernel = real_kernel();
  const TestFolder dir;
  ASSERT_TRUE(kernel->make_dir(dir / "a"));
  EXPECT_EQ(kernel->make_dir(dir / "a").error(), EEXIST);
  EXPECT_EQ(kernel->list(dir.path()).size(), 1U);
  ASSERT_TRUE(write_text(dir / "a/f", "0123456789"));
  EXPECT_EQ(as_text(kernel->read(dir / "a/f", 4, 3).value()), "3456");
  EXPECT_TRUE(kernel->write(dir / "a/f", as_bytes("xy")));
  EXPECT_EQ(as_text(kernel->read(dir / "a/f", 100).value()), "xy23456789");
  EXPECT_EQ(kernel->read(dir / "none", 4).error(), ENOENT);
  EXPECT_EQ(kernel->control(dir / "a/f", 0xC4405401, {}).error(), ENOTTY);
  EXPECT_EQ(kernel->remove_dir(dir / "a").error(), ENOTEMPTY);
  EXPECT_FALSE(kernel->ask_host(1, {}, 16));
  EXPECT_FALSE(kernel->library_extend(3, Bytes(48)));
}

}  // namespace
}  // namespace cairn::device
