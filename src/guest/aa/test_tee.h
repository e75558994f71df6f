// Registers in memory, for tests: quotes are the report data and the four registers.
#pragma once

#include <array>
#include <functional>
#include <mutex>
#include <thread>

#include "crypto/hash.h"
#include "device/tee.h"
#include "evidence/eventlog/eventlog.h"

namespace cairn::aa {

struct FakeTee final : device::Tee {
  std::array<Digest<48>, 4> rtmr{};
  bool has_ccel = false, fail_extend = false, slow_quotes = false;
  std::function<void()> on_extend;  // called before the register changes
  Digest<48> config_id{};
  std::mutex mutex;

  std::string_view type() const override { return "tdx"; }
  bool simulated() const override { return true; }
  std::string description() const override { return "fake"; }
  Result<Bytes> quote(const ReportData& report_data) override {
    Bytes out = to_bytes(report_data.view());
    {
      const std::lock_guard lock(mutex);
      for (const auto& r : rtmr) append(out, r.view());
    }
    if (slow_quotes) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return out;
  }
  Result<void> extend_rtmr(unsigned index, const Digest<48>& value) override {
    if (on_extend) on_extend();
    if (fail_extend) return fail(ErrorCode::unavailable, "fake", "told to fail");
    const std::lock_guard lock(mutex);
    Bytes both = to_bytes(rtmr.at(index).view());
    append(both, value.view());
    rtmr.at(index) = crypto::sha384(both);
    return {};
  }
  Result<Digest<48>> read_rtmr(unsigned index) override {
    const std::lock_guard lock(mutex);
    return rtmr.at(index);
  }
  [[nodiscard]] static Bytes ccel_bytes() {
    Bytes log = eventlog::spec_id_record(1, {eventlog::Algorithm::sha384});
    append(log, Bytes(64, 0xFF));
    return log;
  }
  Result<Bytes> ccel() override {
    if (!has_ccel) return fail(ErrorCode::not_found, "ccel", "none");
    return ccel_bytes();
  }
  Result<Digest<48>> mr_config_id() override { return config_id; }
};

}  // namespace cairn::aa
