// Shares one slow quote generator among many askers: one quote in flight, first come first served, equal questions
// answered once.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "device/tee.h"

namespace cairn::device {

// Wraps a Tee (which it does not own) and is one itself.
class QuoteQueue final : public Tee {
 public:
  explicit QuoteQueue(Tee& tee);
  ~QuoteQueue() override;

  [[nodiscard]] std::string_view type() const override;
  [[nodiscard]] bool simulated() const override;
  [[nodiscard]] std::string description() const override;

  // Joins a waiting or running request for the same report data, unless a register was extended since that one began.
  // unavailable when limits::waiting_quotes are queued already; timed_out after limits::quote_deadline.
  [[nodiscard]] Result<Bytes> quote(const ReportData& report_data) override;
  // Reuses the quote made for the same report data in the same `epoch` (a key's lifetime: TNG's certificate, the chat's
  // session key) while no register was extended; makes one otherwise.
  [[nodiscard]] Result<Bytes> quote_in_epoch(const ReportData& report_data, std::uint64_t epoch);

  [[nodiscard]] Result<void> extend_rtmr(unsigned index, const Digest<48>& value) override;
  [[nodiscard]] Result<Digest<48>> read_rtmr(unsigned index) override;
  [[nodiscard]] Result<Bytes> ccel() override;
  [[nodiscard]] Result<Digest<48>> mr_config_id() override;

  // Quotes really made, for the status page and the tests.
  [[nodiscard]] std::uint64_t made() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::device
