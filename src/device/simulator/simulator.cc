#include "device/simulator/simulator.h"

#include <fcntl.h>
#include <sys/file.h>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "crypto/random.h"
#include "device/simulator/boot_log.h"
#include "device/simulator/collateral_maker.h"
#include "device/simulator/pki.h"
#include "device/simulator/quoting.h"

namespace cairn::device {

namespace sim = simulator;

namespace {

constexpr std::int64_t kRefreshAfter = 24 * 60 * 60;

// What td.json holds.
struct Stored {
  sim::Platform platform;
  sim::TdState td;
  Scenario scenario = Scenario::none;
  Time collateral_at{};
};

template <class Fixed>
void read_hex(Fields& f, std::string_view key, Fixed& out) {
  const auto text = f.required<std::string>(key);
  const auto bytes = from_hex(text);
  if (bytes && bytes->size() == out.size())
    std::ranges::copy(*bytes, out.begin());
  else
    f.problem(key, "not " + std::to_string(out.size()) + " bytes in hex");
}

Json to_json(const Stored& s) {
  Json rtmr = Json::array();
  for (const auto& r : s.td.rtmr) rtmr.push_back(hex(r.view()));
  return {{"version", 1},
          {"ppid", hex(s.platform.ppid)},
          {"instance_id", hex(s.platform.instance_id)},
          {"qe_id", hex(s.platform.qe_id)},
          {"pck_serial", hex(s.platform.pck_serial)},
          {"mr_td", hex(s.td.mr_td.view())},
          {"mr_config_id", hex(s.td.mr_config_id.view())},
          {"rtmr", std::move(rtmr)},
          {"quote_v5", s.td.quote_v5},
          {"scenario", name(s.scenario)},
          {"collateral_at", s.collateral_at.seconds}};
}

void read_registers(Fields& f, std::array<Digest<48>, 4>& out) {
  const auto texts = f.required<std::vector<std::string>>("rtmr");
  if (texts.size() != out.size()) return f.problem("rtmr", "not four registers");
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto digest = from_hex(texts[i]).and_then([](const Bytes& b) { return Digest<48>::from(b); });
    if (!digest) return f.problem("rtmr", "not four registers of 48 bytes in hex");
    out[i] = *digest;
  }
}

Result<Stored> from_json(const Json& json) {
  Problems problems;
  Fields f(json, "$", problems);
  Stored s;
  if (f.required<int>("version") != 1) f.problem("version", "not 1");
  s.platform.pck_serial.resize(20);
  read_hex(f, "ppid", s.platform.ppid);
  read_hex(f, "instance_id", s.platform.instance_id);
  read_hex(f, "qe_id", s.platform.qe_id);
  read_hex(f, "pck_serial", s.platform.pck_serial);
  read_hex(f, "mr_td", s.td.mr_td);
  read_hex(f, "mr_config_id", s.td.mr_config_id);
  read_registers(f, s.td.rtmr);
  s.td.quote_v5 = f.required<bool>("quote_v5");
  s.collateral_at.seconds = f.required<std::int64_t>("collateral_at");
  const auto scenario = scenario_named(f.required<std::string>("scenario"));
  if (scenario)
    s.scenario = *scenario;
  else
    f.problem("scenario", scenario.error().message);
  f.done();
  CAIRN_CHECK(problems.result());
  return s;
}

sim::Platform new_platform() {
  sim::Platform out;
  crypto::fill_random(out.ppid);
  crypto::fill_random(out.instance_id);
  crypto::fill_random(out.qe_id);
  out.pck_serial = crypto::random_bytes(20);
  out.pck_serial[0] = static_cast<std::uint8_t>((out.pck_serial[0] & 0x7F) | 0x40);  // positive, always 20 bytes
  return out;
}

// Excludes other processes and, by a descriptor of its own, other threads of this one.
Result<Fd> lock_folder(const std::filesystem::path& dir) {
  const auto path = dir / "lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return fail(errno_error(errno, path.string(), "cannot open the lock"));
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return fail(errno_error(errno, path.string(), "cannot take the lock"));
  return fd;
}

}  // namespace

struct Simulator::State {
  std::filesystem::path dir;
  sim::Keys keys;
  std::string fingerprint;

  [[nodiscard]] Result<Stored> load() const {
    auto stored = read_text(dir / "td.json")
                      .and_then([](const std::string& text) { return parse_json(text); })
                      .and_then([](const Json& json) { return from_json(json); });
    if (!stored)
      return fail(std::move(stored.error()).in("the simulator's td.json is damaged; remove " + dir.string()));
    return stored;
  }
  [[nodiscard]] Result<void> save(const Stored& s) const {
    return write_text(dir / "td.json", to_json(s).dump(2) + "\n");
  }

  // Certificates and collateral for the scenario, as of `at`.
  [[nodiscard]] Result<void> publish(Stored& s, Time at) const;
  // The registers of a fresh boot, and its log; the caller saves.
  [[nodiscard]] Result<void> start_td(Stored& s, const BootOptions& options) const;
  // Renews collateral that is a day old, or of a clock that was set back since.
  [[nodiscard]] Result<void> renew(Stored& s) const {
    const Time at = now();
    const auto age = at.seconds - s.collateral_at.seconds;
    return age >= 0 && age <= kRefreshAfter ? Result<void>{} : publish(s, at);
  }
  [[nodiscard]] Result<void> first_start() const;
  [[nodiscard]] Result<Bytes> make(const Stored& s, const ReportData& data, Scenario scenario) const;
};

Result<void> Simulator::State::publish(Stored& s, Time at) const {
  CAIRN_TRY(const auto pem, read_text(dir / "root.pem"));
  CAIRN_TRY(auto roots, crypto::Certificate::from_pem(pem, 1));
  if (roots.size() != 1) return fail(ErrorCode::malformed, (dir / "root.pem").string(), "not one certificate");
  if (s.scenario == Scenario::other_root) {
    CAIRN_TRY(roots[0], sim::make_root(keys.other_root, at));
  }
  CAIRN_TRY(const auto certificates, sim::make_certificates(keys, s.platform, roots[0], s.scenario, at));
  CAIRN_TRY(const auto collateral, sim::make_collateral(keys, certificates, s.scenario, at));
  CAIRN_CHECK(write_text(dir / "pck-chain.pem", certificates.pck_chain()));
  CAIRN_CHECK(write_text(dir / "collateral.json", tdx::serialise(collateral)));
  s.collateral_at = at;
  return save(s);
}

Result<void> Simulator::State::start_td(Stored& s, const BootOptions& options) const {
  CAIRN_TRY(const auto booted, sim::boot(options));
  CAIRN_CHECK(write_file(dir / "ccel.bin", booted.ccel));
  s.td = {
      .mr_td = booted.mr_td, .mr_config_id = options.mr_config_id, .rtmr = booted.rtmr, .quote_v5 = options.quote_v5};
  return {};
}

Result<void> Simulator::State::first_start() const {
  const Time at = now();
  CAIRN_TRY(const auto root, sim::make_root(keys.root, at));
  CAIRN_CHECK(write_text(dir / "root.pem", root.pem()));
  Stored s;
  s.platform = new_platform();
  CAIRN_CHECK(start_td(s, {}));
  return publish(s, at);  // td.json comes last: a start that was cut short begins anew
}

Result<Bytes> Simulator::State::make(const Stored& s, const ReportData& data, Scenario scenario) const {
  CAIRN_TRY(const auto chain, read_text(dir / "pck-chain.pem"));
  return sim::make_quote(sim::make_hardware_report(s.td, data, keys, scenario), keys, s.platform, chain, scenario);
}

Simulator::Simulator(std::unique_ptr<State> state) : state_(std::move(state)) {}
Simulator::~Simulator() = default;

Result<std::unique_ptr<Simulator>> Simulator::open(const std::filesystem::path& dir, bool force,
                                                   const std::filesystem::path& hardware) {
  if (!force && std::filesystem::exists(hardware))
    return fail(ErrorCode::permission_denied, hardware.string(),
                "this machine has a real TEE: use it (--tee tdx), or force the simulator explicitly");
  if (dir.has_parent_path()) CAIRN_CHECK(make_dirs(dir));
  CAIRN_CHECK(make_dirs(dir / "keys", 0700));
  CAIRN_TRY(const Fd lock, lock_folder(dir));
  const bool first = !std::filesystem::exists(dir / "td.json");
  CAIRN_TRY(auto keys, sim::Keys::open(dir / "keys", first));
  auto state = std::make_unique<State>(State{dir, std::move(keys), {}});
  if (first) CAIRN_CHECK(state->first_start());
  CAIRN_TRY(auto stored, state->load());
  CAIRN_CHECK(state->renew(stored));
  CAIRN_TRY(const auto pem, read_text(dir / "root.pem"));
  CAIRN_TRY(const auto root, crypto::Certificate::from_pem(pem, 1));
  state->fingerprint = hex(crypto::sha256(root.at(0).der()).view());
  return std::unique_ptr<Simulator>(new Simulator(std::move(state)));
}

std::string Simulator::description() const { return "TD simulator (root " + state_->fingerprint.substr(0, 16) + "…)"; }

Result<Bytes> Simulator::quote(const ReportData& report_data) {
  CAIRN_TRY(const Fd lock, lock_folder(state_->dir));
  CAIRN_TRY(auto stored, state_->load());
  CAIRN_CHECK(state_->renew(stored));
  if (stored.scenario == Scenario::quote_replay) return read_file(state_->dir / "replayed-quote.bin");
  return state_->make(stored, report_data, stored.scenario);
}

Result<void> Simulator::extend_rtmr(unsigned index, const Digest<48>& value) {
  if (index > 3) return fail(ErrorCode::invalid_argument, "rtmr" + std::to_string(index), "TDX has RTMR0 to RTMR3");
  if (index < 2)
    return fail(ErrorCode::permission_denied, "rtmr" + std::to_string(index), "RTMR0 and RTMR1 belong to firmware");
  CAIRN_TRY(const Fd lock, lock_folder(state_->dir));
  CAIRN_TRY(auto stored, state_->load());
  Bytes both = to_bytes(stored.td.rtmr[index].view());
  append(both, value.view());
  stored.td.rtmr[index] = crypto::sha384(both);
  return state_->save(stored);
}

Result<Digest<48>> Simulator::read_rtmr(unsigned index) {
  if (index > 3) return fail(ErrorCode::invalid_argument, "rtmr" + std::to_string(index), "TDX has RTMR0 to RTMR3");
  CAIRN_TRY(const Fd lock, lock_folder(state_->dir));
  CAIRN_TRY(const auto stored, state_->load());
  return stored.td.rtmr[index];
}

Result<Bytes> Simulator::ccel() {
  CAIRN_TRY(const Fd lock, lock_folder(state_->dir));
  return read_file(state_->dir / "ccel.bin");
}

Result<Digest<48>> Simulator::mr_config_id() {
  CAIRN_TRY(const Fd lock, lock_folder(state_->dir));
  return state_->load().transform([](const Stored& s) { return s.td.mr_config_id; });
}

Result<Digest<48>> Simulator::mr_td() {
  CAIRN_TRY(const Fd lock, lock_folder(state_->dir));
  return state_->load().transform([](const Stored& s) { return s.td.mr_td; });
}

Result<void> Simulator::boot(const BootOptions& options) {
  CAIRN_TRY(const Fd lock, lock_folder(state_->dir));
  CAIRN_TRY(auto stored, state_->load());
  CAIRN_CHECK(state_->start_td(stored, options));
  return state_->save(stored);
}

Result<void> Simulator::set_scenario(Scenario scenario) {
  CAIRN_TRY(const Fd lock, lock_folder(state_->dir));
  CAIRN_TRY(auto stored, state_->load());
  stored.scenario = scenario;
  CAIRN_CHECK(state_->publish(stored, now()));
  if (scenario != Scenario::quote_replay) return {};
  ReportData nonce;
  crypto::fill_random(nonce);
  CAIRN_TRY(const auto old, state_->make(stored, nonce, Scenario::none));
  return write_file(state_->dir / "replayed-quote.bin", old);
}

Result<Scenario> Simulator::scenario() {
  CAIRN_TRY(const Fd lock, lock_folder(state_->dir));
  return state_->load().transform([](const Stored& s) { return s.scenario; });
}

Result<void> Simulator::refresh_collateral(Time at) {
  CAIRN_TRY(const Fd lock, lock_folder(state_->dir));
  CAIRN_TRY(auto stored, state_->load());
  return state_->publish(stored, at);
}

std::filesystem::path Simulator::root_path() const { return state_->dir / "root.pem"; }
std::filesystem::path Simulator::collateral_path() const { return state_->dir / "collateral.json"; }
const std::string& Simulator::root_fingerprint() const { return state_->fingerprint; }

}  // namespace cairn::device
