#include "device/linux_tdx.h"

#include <atomic>
#include <cerrno>
#include <charconv>
#include <thread>

#include "base/cursor.h"
#include "base/encoding.h"
#include "crypto/random.h"
#include "device/limits.h"
#include "evidence/eventlog/eventlog.h"
#include "evidence/tdx/hardware_report.h"
#include "evidence/tdx/quote.h"

namespace cairn::device {
namespace {

constexpr unsigned long kGetReport0 = 0xC4405401;
constexpr unsigned long kExtendRtmr[] = {0x80315403, 0x40315403};  // _IOR and _IOW of out-of-tree drivers
constexpr unsigned long kGetQuote[] = {0x80105404, 0xC0105404};    // _IOR and _IOWR
constexpr std::size_t kReportSize = tdx::kHardwareReportSize;
constexpr std::size_t kQuoteBuffer = 16384;
constexpr std::uint64_t kQuoteDone = 0, kQuoteInFlight = ~std::uint64_t{0}, kQuoteUnavailable = 0x8000'0000'0000'0001;
constexpr std::string_view kEntryPrefix = "cairn-";
constexpr std::int64_t kStaleSeconds = 600;  // far past any time-out of a request that is still alive
constexpr std::string_view kProvider = "tdx_guest";

std::unexpected<Error> os(int number, const std::filesystem::path& where, std::string_view action) {
  if (number == ETIMEDOUT) return fail(ErrorCode::timed_out, where.string(), "the host did not answer in time");
  if (number == EBUSY || number == EINTR)
    return fail(ErrorCode::unavailable, where.string(), "the quote generator is busy");
  return fail(errno_error(number, where.string(), action));
}

// The quote alone, without what the kernel's buffer holds behind it.
Result<Bytes> trimmed(ByteView raw, std::string_view source) {
  const auto parsed = tdx::parse_quote(raw);
  if (!parsed) return fail(Error(parsed.error()).in("what " + std::string(source) + " gave is not a quote"));
  if (parsed->quote.td() == nullptr) return fail(ErrorCode::malformed, std::string(source), "not a quote of a TD");
  return to_bytes(parsed->bytes);
}

// Removes a report entry on every way out.
class Entry {
 public:
  Entry(Kernel& kernel, std::filesystem::path path) : kernel_(kernel), path_(std::move(path)) {}
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry() { (void)kernel_.remove_dir(path_); }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  Kernel& kernel_;
  std::filesystem::path path_;
};

class LinuxTdx final : public Tee {
 public:
  LinuxTdx(LinuxPaths paths, std::unique_ptr<Kernel> kernel) : paths_(std::move(paths)), kernel_(std::move(kernel)) {}

  // Looks for what there is; sweeps entries that a killed process of ours left behind.
  Result<void> detect() {
    has_device_ = kernel_->exists(paths_.device);
    if (kernel_->exists(paths_.tsm_reports)) {
      sweep();
      has_tsm_ = provider_is_tdx();
    }
    has_measurements_ = kernel_->exists(paths_.measurements / "rtmr3:sha384");
    if (const auto text = kernel_->read(paths_.qgs_config, kSmallFileMax)) qgs_port_ = parse_qgs_config(as_text(*text));
    if (has_tsm_ || has_device_) return {};
    return fail(ErrorCode::unavailable, "no Intel TDX here: neither " + paths_.tsm_reports.string() +
                                            " with provider tdx_guest nor " + paths_.device.string() +
                                            " exists. Run inside a TD, mount configfs, or start with --tee simulated");
  }

  std::string_view type() const override { return "tdx"; }
  bool simulated() const override { return false; }
  std::string description() const override {
    return std::string("Intel TDX (") + (has_tsm_ ? "configfs-tsm" : qgs_port_ != 0 ? "vsock QGS" : "ioctl") + ")";
  }

  Result<Bytes> quote(const ReportData& report_data) override {
    auto wait = limits::quote_retry_wait;
    for (unsigned attempt = 1;; ++attempt) {
      auto out = has_tsm_ ? quote_from_tsm(report_data) : quote_from_device(report_data);
      const bool again =
          !out && (out.error().code == ErrorCode::unavailable || out.error().code == ErrorCode::conflict);
      if (!again || attempt == limits::quote_tries) return out;
      std::this_thread::sleep_for(wait);
      wait *= 2;
    }
  }

  Result<void> extend_rtmr(unsigned index, const Digest<48>& value) override {
    CAIRN_CHECK(check_index(index));
    if (index < 2)
      return fail(ErrorCode::permission_denied, "rtmr" + std::to_string(index), "RTMR0 and RTMR1 belong to firmware");
    if (has_measurements_) {
      const auto path = register_path(index);
      if (const auto ok = kernel_->write(path, value.view()); !ok)
        return os(ok.error(), path, "extending the register");
      return {};
    }
    return extend_by_ioctl(index, value);
  }

  Result<Digest<48>> read_rtmr(unsigned index) override {
    CAIRN_CHECK(check_index(index));
    if (has_measurements_) return read_register(register_path(index));
    return report({}).transform([index](const tdx::HardwareReport& r) { return r.td.rtmr[index]; });
  }

  Result<Digest<48>> mr_config_id() override {
    if (const auto path = paths_.measurements / "mrconfigid"; kernel_->exists(path)) return read_register(path);
    return report({}).transform([](const tdx::HardwareReport& r) { return r.td.mr_config_id; });
  }

  Result<Bytes> ccel() override {
    auto data = kernel_->read(paths_.ccel_data, limits::ccel_bytes + 1);
    if (data && data->size() > limits::ccel_bytes)
      return fail(ErrorCode::too_large, paths_.ccel_data.string(), "the event log is too long");
    if (data && !data->empty()) return std::move(*data);
    const auto raw = kernel_->read(paths_.ccel_table, 64);
    if (!raw)
      return fail(ErrorCode::not_found, paths_.ccel_table.string(),
                  "this platform has no event log (no ACPI CCEL table)");
    CAIRN_TRY(const auto table, eventlog::parse_ccel_table(*raw));
    if (table.length > limits::ccel_bytes)
      return fail(ErrorCode::too_large, paths_.ccel_table.string(), "the event log is too long");
    auto area = kernel_->read(paths_.memory, static_cast<std::size_t>(table.length), table.address);
    if (!area) return os(area.error(), paths_.memory, "reading the event log");
    return std::move(*area);
  }

 private:
  static Result<void> check_index(unsigned index) {
    if (index <= 3) return {};
    return fail(ErrorCode::invalid_argument, "rtmr" + std::to_string(index), "TDX has RTMR0 to RTMR3");
  }
  std::filesystem::path register_path(unsigned index) const {
    return paths_.measurements / ("rtmr" + std::to_string(index) + ":sha384");
  }
  Result<Digest<48>> read_register(const std::filesystem::path& path) {
    const auto raw = kernel_->read(path, 64);
    if (!raw) return os(raw.error(), path, "reading the register");
    return Digest<48>::from(*raw);
  }

  // --- configfs-tsm ---

  void sweep() {
    for (const auto& entry : kernel_->list(paths_.tsm_reports))
      if (entry.name.starts_with(kEntryPrefix) && entry.age_seconds > kStaleSeconds)
        (void)kernel_->remove_dir(paths_.tsm_reports / entry.name);
  }

  std::filesystem::path fresh_entry_path() const {
    return paths_.tsm_reports / (std::string(kEntryPrefix) + hex(crypto::random_bytes(12)));
  }

  bool provider_is_tdx() {
    const auto path = fresh_entry_path();
    if (!kernel_->make_dir(path)) return false;
    const Entry entry(*kernel_, path);
    return check_provider(path).has_value();
  }

  Result<void> check_provider(const std::filesystem::path& entry) {
    const auto provider = kernel_->read(entry / "provider", 256);
    if (!provider) return os(provider.error(), entry / "provider", "reading the provider");
    std::string_view text = as_text(*provider);
    if (text.ends_with('\n')) text.remove_suffix(1);
    if (text == kProvider) return {};
    return fail(ErrorCode::unsupported, (entry / "provider").string(), "the TSM provider is not tdx_guest");
  }

  Result<Bytes> quote_from_tsm(const ReportData& report_data) {
    const auto path = fresh_entry_path();
    if (const auto made = kernel_->make_dir(path); !made) return os(made.error(), path, "making a report entry");
    const Entry entry(*kernel_, path);
    CAIRN_CHECK(check_provider(path));
    if (const auto ok = kernel_->write(path / "inblob", report_data.view()); !ok)
      return os(ok.error(), path / "inblob", "writing the report data");
    const auto blob = kernel_->read(path / "outblob", limits::quote_bytes);
    if (!blob) return os(blob.error(), path / "outblob", "reading the quote");
    // The entry is ours alone: after one write its generation is 1, or somebody interfered.
    const auto generation = kernel_->read(path / "generation", 64);
    if (!generation) return os(generation.error(), path / "generation", "reading the generation");
    std::string_view text = as_text(*generation);
    if (text.ends_with('\n')) text.remove_suffix(1);
    if (text != "1")
      return fail(ErrorCode::conflict, (path / "generation").string(), "somebody else wrote to our report entry");
    return trimmed(*blob, "configfs-tsm");
  }

  // --- /dev/tdx_guest ---

  Result<Bytes> raw_report(const ReportData& report_data) {
    Bytes argument = to_bytes(report_data.view());
    argument.resize(report_data.size() + kReportSize);
    if (const auto ok = kernel_->control(paths_.device, kGetReport0, argument); !ok)
      return os(ok.error(), paths_.device, "asking for a TD report");
    return Bytes(argument.begin() + static_cast<std::ptrdiff_t>(report_data.size()), argument.end());
  }

  Result<tdx::HardwareReport> report(const ReportData& report_data) {
    CAIRN_TRY(const auto raw, raw_report(report_data));
    return tdx::parse_hardware_report(raw);
  }

  Result<void> extend_by_ioctl(unsigned index, const Digest<48>& value) {
    Bytes argument = to_bytes(value.view());
    argument.push_back(static_cast<std::uint8_t>(index));
    int error = ENOTTY;
    for (const auto request : kExtendRtmr) {
      const auto ok = kernel_->control(paths_.device, request, argument);
      if (ok) return {};
      error = ok.error();
      if (error != ENOTTY && error != EINVAL) break;
    }
    if (error != ENOTTY && error != EINVAL) return os(error, paths_.device, "extending the register");
    const auto library = kernel_->library_extend(index, value.view());
    if (library) return {};
    if (library.error() == ENOSYS)
      return fail(ErrorCode::unsupported, paths_.device.string(),
                  "this kernel offers no way to extend RTMRs (Linux 6.16 has " + paths_.measurements.string() + ")");
    return os(library.error(), "libtdx_attest", "extending the register");
  }

  Result<Bytes> quote_from_device(const ReportData& report_data) {
    CAIRN_TRY(const auto td_report, raw_report(report_data));
    const Bytes frame = qgs_quote_request(td_report);
    if (qgs_port_ != 0) {
      const auto body = kernel_->ask_host(qgs_port_, frame, limits::quote_bytes);
      if (!body) return os(body.error(), "vsock:2:" + std::to_string(qgs_port_), "asking the quoting service");
      CAIRN_TRY(const auto quote, parse_qgs_quote_response(*body));
      return trimmed(quote, "the quoting service");
    }
    return quote_by_ioctl(frame);
  }

  Result<Bytes> quote_by_ioctl(ByteView frame) {
    for (const auto request : kGetQuote) {
      alignas(4096) std::array<std::uint8_t, kQuoteBuffer> buffer{};
      const Bytes header =
          std::move(Writer().u64le(1).u64le(0).u32le(static_cast<std::uint32_t>(frame.size())).u32le(0)).take();
      std::ranges::copy(header, buffer.begin());
      std::ranges::copy(frame, buffer.begin() + static_cast<std::ptrdiff_t>(header.size()));
      const auto ok = kernel_->control_buffer(paths_.device, request, buffer);
      if (!ok && ok.error() == ENOTTY) continue;
      if (!ok) return os(ok.error(), paths_.device, "asking for a quote");
      return read_quote_buffer(buffer);
    }
    return fail(ErrorCode::unsupported, paths_.device.string(),
                "this kernel's TDX driver cannot make quotes: mount configfs (Linux 6.7), or name a port in " +
                    paths_.qgs_config.string());
  }

  Result<Bytes> read_quote_buffer(ByteView buffer) {
    Reader in(buffer);
    CAIRN_CHECK(in.skip(8));
    CAIRN_TRY(const auto status, in.u64le());
    CAIRN_CHECK(in.skip(4));
    CAIRN_TRY(const auto length, in.u32le());
    if (status == kQuoteInFlight || status == kQuoteUnavailable)
      return fail(ErrorCode::unavailable, paths_.device.string(), "the host's quoting service is not available now");
    if (status != kQuoteDone)
      return fail(ErrorCode::io_failed, paths_.device.string(), "the host could not make a quote");
    CAIRN_TRY(auto out, in.sub(length));
    CAIRN_TRY(const auto body_length, out.u32be());
    CAIRN_TRY(const auto body, out.bytes(body_length));
    CAIRN_TRY(const auto quote, parse_qgs_quote_response(body));
    return trimmed(quote, "the TDX driver");
  }

  LinuxPaths paths_;
  std::unique_ptr<Kernel> kernel_;
  bool has_tsm_ = false, has_device_ = false, has_measurements_ = false;
  std::uint32_t qgs_port_ = 0;
};

std::string_view trim(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return text;
}

constexpr std::uint16_t kQgsMajor = 1, kQgsMinor = 1;
constexpr std::uint32_t kGetQuoteRequest = 0, kGetQuoteResponse = 1;
constexpr std::size_t kQgsHeader = 16;

}  // namespace

std::uint32_t parse_qgs_config(std::string_view text) {
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto line = trim(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    const auto equals = line.find('=');
    if (line.starts_with('#') || equals == line.npos || trim(line.substr(0, equals)) != "port") continue;
    const auto value = trim(line.substr(equals + 1));
    std::uint32_t port = 0;
    const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), port);
    return error == std::errc{} && stop == value.data() + value.size() && value.size() <= 10 ? port : 0;
  }
  return 0;
}

Bytes qgs_quote_request(ByteView td_report) {
  const auto size = static_cast<std::uint32_t>(kQgsHeader + 8 + td_report.size());
  Writer out;
  out.u32be(size).u16le(kQgsMajor).u16le(kQgsMinor).u32le(kGetQuoteRequest).u32le(size).u32le(0);
  out.u32le(static_cast<std::uint32_t>(td_report.size())).u32le(0).bytes(td_report);
  return std::move(out).take();
}

Result<Bytes> parse_qgs_quote_response(ByteView body) {
  Reader in(body);
  CAIRN_TRY(const auto major, in.u16le());
  CAIRN_CHECK(in.skip(2));
  CAIRN_TRY(const auto type, in.u32le());
  CAIRN_TRY(const auto size, in.u32le());
  CAIRN_TRY(const auto error, in.u32le());
  if (major != kQgsMajor || type != kGetQuoteResponse || size != body.size())
    return fail(ErrorCode::malformed, "offset 0", "not a GET_QUOTE response of the quoting service");
  if (error != 0)
    return fail(ErrorCode::io_failed, "quoting service", "it reports error 0x" + hex(Writer().u32be(error).view()));
  CAIRN_TRY(const auto id_size, in.u32le());
  CAIRN_TRY(const auto quote_size, in.u32le());
  CAIRN_CHECK(in.skip(id_size));
  CAIRN_TRY(const auto quote, in.bytes(quote_size));
  CAIRN_CHECK(in.end());
  return to_bytes(quote);
}

Result<std::unique_ptr<Tee>> open_linux_tdx(LinuxPaths paths, std::unique_ptr<Kernel> kernel) {
  auto device = std::make_unique<LinuxTdx>(std::move(paths), std::move(kernel));
  CAIRN_CHECK(device->detect());
  return std::unique_ptr<Tee>(std::move(device));
}

}  // namespace cairn::device
