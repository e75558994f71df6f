// The agent's event log as a file that always agrees with its register. spec/guest.md §7.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/file.h"
#include "device/tee.h"
#include "evidence/eventlog/aael.h"

namespace cairn::aa {

enum class LogForm {
  text,  // P1: INIT line, one register
  tcg2,  // P2: EV_EVENT_TAG records on top of the CCEL
};

struct EventLogOptions {
  std::filesystem::path path = "/run/attestation-agent/eventlog";
  LogForm form = LogForm::text;
  std::uint64_t init_pcr = 17;  // used where a caller names none; the only one in text form
  eventlog::ContentRule rule = eventlog::ContentRule::strict;
};

// Any thread. Each event is written ahead, appended, extended, then confirmed; whatever instant a crash picks, open()
// brings file and register together again or declares the log invalid. An invalid log is served as it is, so that
// verification fails in the open, and takes no further events.
class EventLog {
 public:
  // Makes the folder and, where there is none, the log (text form: extends the register with the INIT line). One
  // process at a time: conflict otherwise. `tee` must outlive it.
  [[nodiscard]] static Result<std::unique_ptr<EventLog>> open(EventLogOptions options, device::Tee& tee);

  // invalid_argument for an event no verifier would accept or a PCR of another register (text form), too_large when
  // verifiers would refuse a longer log, conflict when the log is invalid, else the device's error.
  [[nodiscard]] Result<void> extend(const eventlog::AaelEvent& event, std::optional<std::uint64_t> pcr);

  // A quote and the log's bytes, both of one state of the register.
  struct Consistent {
    Bytes quote, log;
  };
  [[nodiscard]] Result<Consistent> consistent(const std::function<Result<Bytes>()>& make_quote);

  // The events so far, in order.
  [[nodiscard]] Result<std::vector<eventlog::AaelEvent>> events() const;
  // Counts events accepted; equal numbers mean an unchanged log.
  [[nodiscard]] std::uint64_t generation() const;
  // "" while the log is sound, else why it is not.
  [[nodiscard]] std::string defect() const;
  [[nodiscard]] LogForm form() const { return options_.form; }

 private:
  struct Entry {  // one line or record
    std::size_t end = 0;
    unsigned rtmr = 3;
    Digest<48> digest{};
  };
  using Registers = std::array<Digest<48>, 4>;

  EventLog(EventLogOptions options, device::Tee& tee) : options_(std::move(options)), tee_(tee) {}
  [[nodiscard]] unsigned default_rtmr() const;
  [[nodiscard]] std::filesystem::path wal_path() const;
  [[nodiscard]] Result<void> lock_file();
  [[nodiscard]] Result<void> load();
  [[nodiscard]] Result<void> finish_interrupted_append();
  [[nodiscard]] Result<void> parse();
  [[nodiscard]] Result<void> create();
  [[nodiscard]] Result<void> reconcile();
  [[nodiscard]] Registers replay(std::size_t entries) const;
  [[nodiscard]] Result<bool> registers_equal(const Registers& expected);
  [[nodiscard]] Result<void> append_and_extend(ByteView bytes, const Entry& entry);
  [[nodiscard]] Result<void> append(ByteView bytes);
  [[nodiscard]] Result<void> undo_or_keep(std::size_t size_before, Error cause);

  EventLogOptions options_;
  device::Tee& tee_;
  mutable std::mutex mutex_;
  Fd lock_, file_;
  Bytes content_;
  Registers initial_{};
  std::vector<Entry> entries_;
  std::uint64_t generation_ = 0;
  std::string defect_;
};

}  // namespace cairn::aa
