#include "guest/aa/event_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "base/encoding.h"
#include "base/json.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "evidence/eventlog/limits.h"
#include "guest/aa/limits.h"

namespace cairn::aa {
namespace {

using eventlog::AaelEvent;

constexpr std::size_t kWalBytes = 4 * eventlog::limits::aael_line;

Digest<48> extended(const Digest<48>& state, const Digest<48>& value) {
  Bytes both = to_bytes(state.view());
  append(both, value.view());
  return crypto::sha384(both);
}

std::uint32_t mr_index(unsigned rtmr) { return device::mr_index_of_rtmr(rtmr); }

// Write-ahead entry: what is about to follow `offset` in the log.
std::string wal_text(std::size_t offset, ByteView bytes) {
  return compact_json({{"offset", offset}, {"append", base64(bytes)}});
}

struct WalEntry {
  std::size_t offset = 0;
  Bytes bytes;
};
Result<WalEntry> parse_wal(std::string_view text) {
  CAIRN_TRY(const Json json, parse_json(text));
  Problems problems;
  Fields fields(json, "$", problems);
  WalEntry entry{.offset = fields.required<std::uint64_t>("offset"), .bytes = {}};
  const auto encoded = fields.required<std::string>("append");
  fields.done();
  CAIRN_CHECK(problems.result());
  CAIRN_TRY(entry.bytes, from_base64(encoded));
  return entry;
}

// TCG2 form: with a header of its own on a machine without CCEL.
Result<eventlog::Log> read_records(ByteView content) {
  const bool headed = content.size() >= 8 && equal(content.first(8), ByteView(eventlog::synthetic_header()).first(8));
  return headed ? eventlog::parse_ccel(content) : eventlog::parse_records(content);
}

}  // namespace

Result<std::unique_ptr<EventLog>> EventLog::open(EventLogOptions options, device::Tee& tee) {
  std::unique_ptr<EventLog> log(new EventLog(std::move(options), tee));
  CAIRN_CHECK(make_dirs(log->options_.path.parent_path(), 0700));
  CAIRN_CHECK(log->lock_file());
  const std::lock_guard guard(log->mutex_);
  CAIRN_CHECK(log->load());
  if (log->content_.empty())
    CAIRN_CHECK(log->create());
  else
    CAIRN_CHECK(log->reconcile());
  if (!log->defect_.empty())
    spdlog::error("event log {} is invalid and takes no events: {}", log->options_.path.string(), log->defect_);
  return log;
}

unsigned EventLog::default_rtmr() const {
  return device::rtmr_of_pcr(static_cast<unsigned>(std::min<std::uint64_t>(options_.init_pcr, 255)));
}

std::filesystem::path EventLog::wal_path() const { return options_.path.parent_path() / ".wal_event_entry"; }

Result<void> EventLog::lock_file() {
  const auto path = options_.path.string() + ".lock";
  lock_ = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock_) return fail(errno_error(errno, path, "cannot open the event log's lock"));
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) == 0) return {};
  return fail(ErrorCode::conflict, options_.path.string(), "another attestation agent writes this event log");
}

Result<void> EventLog::load() {
  file_ = Fd(::open(options_.path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!file_) return fail(errno_error(errno, options_.path.string(), "cannot open the event log"));
  CAIRN_TRY(content_, read_file(options_.path, eventlog::limits::aael_bytes));
  CAIRN_CHECK(finish_interrupted_append());
  if (content_.empty()) return {};
  if (options_.form == LogForm::text && content_.back() != '\n') CAIRN_CHECK(append(as_bytes("\n")));
  if (auto parsed = parse(); !parsed) defect_ = parsed.error().text();
  return {};
}

// The write-ahead entry is there from before an append until after its extension. Completing the append, if it was cut
// short, leaves the decision about the register to reconcile().
Result<void> EventLog::finish_interrupted_append() {
  auto text = read_text(wal_path(), kWalBytes);
  if (!text && text.error().code == ErrorCode::not_found) return {};
  CAIRN_CHECK(text);
  const auto entry = parse_wal(*text);
  const bool fits =
      entry && entry->offset <= content_.size() && content_.size() - entry->offset <= entry->bytes.size() &&
      equal(ByteView(content_).subspan(entry->offset), ByteView(entry->bytes).first(content_.size() - entry->offset));
  if (!fits) {
    spdlog::warn("the write-ahead entry {} does not belong to the event log and is ignored", wal_path().string());
    ::unlink(wal_path().c_str());
    return {};
  }
  return append(ByteView(entry->bytes).subspan(content_.size() - entry->offset));
}

Result<void> EventLog::parse() {
  entries_.clear();
  if (options_.form == LogForm::text) {
    CAIRN_TRY(const auto log, eventlog::parse_text_log(as_text(content_)));
    if (log.algorithm != eventlog::Algorithm::sha384)
      return fail(ErrorCode::unsupported, "line 1", "the log's hash is not SHA-384, which TDX registers need");
    CAIRN_TRY(initial_[default_rtmr()], Digest<48>::from(log.initial));
    std::size_t end = 0;
    for (const auto& line : log.lines)
      entries_.push_back({end += line.size() + 1, default_rtmr(), eventlog::text_line_digest(line)});
    return {};
  }
  CAIRN_TRY(const auto log, read_records(content_));
  if (log.end_offset != content_.size()) return fail(ErrorCode::malformed, "event log", "bytes follow the last record");
  for (std::size_t i = 0; i < log.events.size(); ++i) {
    const auto& event = log.events[i];
    if (event.index < 1 || event.index > 4) return fail(ErrorCode::malformed, "event log", "a record names no RTMR");
    CAIRN_TRY(const auto digest, Digest<48>::from(event.digest(eventlog::Algorithm::sha384)));
    const std::size_t end = i + 1 < log.events.size() ? log.events[i + 1].offset : log.end_offset;
    entries_.push_back({end, event.index - 1, digest});
  }
  return {};
}

// Text: the register may hold anything, INIT records it. TCG2: what the firmware's log explains is the start.
Result<void> EventLog::create() {
  if (options_.form == LogForm::text) {
    CAIRN_TRY(initial_[default_rtmr()], tee_.read_rtmr(default_rtmr()));
    const std::string line = eventlog::init_line(initial_[default_rtmr()]);
    const Entry entry{line.size() + 1, default_rtmr(), eventlog::text_line_digest(line)};
    return append_and_extend(as_bytes(line + "\n"), entry);
  }
  CAIRN_CHECK(reconcile());
  if (!defect_.empty()) return {};
  const auto ccel = tee_.ccel();
  if (!ccel && ccel.error().code != ErrorCode::not_found) return fail(ccel.error());
  return ccel ? Result<void>{} : append(eventlog::synthetic_header());
}

Result<void> EventLog::reconcile() {
  if (!defect_.empty()) return {};
  if (options_.form == LogForm::tcg2) {
    if (const auto ccel = tee_.ccel()) {
      CAIRN_TRY(const auto log, eventlog::parse_ccel(*ccel));
      CAIRN_TRY(initial_, eventlog::replay_rtmrs(log));
    }
  }
  CAIRN_TRY(const bool whole, registers_equal(replay(entries_.size())));
  if (!whole && !entries_.empty()) {
    CAIRN_TRY(const bool all_but_last, registers_equal(replay(entries_.size() - 1)));
    if (all_but_last) {
      spdlog::warn("the last event of {} was logged but not extended; extending it now", options_.path.string());
      CAIRN_CHECK(tee_.extend_rtmr(entries_.back().rtmr, entries_.back().digest));
      ::unlink(wal_path().c_str());
      return {};
    }
  }
  if (!whole) defect_ = "the register of the TEE does not hold what the log replays to";
  ::unlink(wal_path().c_str());
  return {};
}

EventLog::Registers EventLog::replay(std::size_t entries) const {
  Registers state = initial_;
  for (std::size_t i = 0; i < entries; ++i)
    state[entries_[i].rtmr] = extended(state[entries_[i].rtmr], entries_[i].digest);
  return state;
}

// Only registers this log writes: the default one and those its records name.
Result<bool> EventLog::registers_equal(const Registers& expected) {
  std::set<unsigned> used{default_rtmr()};
  for (const auto& entry : entries_) used.insert(entry.rtmr);
  for (const unsigned rtmr : used) {
    CAIRN_TRY(const auto live, tee_.read_rtmr(rtmr));
    if (live != expected[rtmr]) return false;
  }
  return true;
}

Result<void> EventLog::append(ByteView bytes) {
  CAIRN_CHECK(write_all(file_.get(), bytes));
  if (::fdatasync(file_.get()) != 0)
    return fail(errno_error(errno, options_.path.string(), "cannot write the event log"));
  cairn::append(content_, bytes);
  return {};
}

Result<void> EventLog::append_and_extend(ByteView bytes, const Entry& entry) {
  const std::size_t before = content_.size();
  CAIRN_CHECK(write_text(wal_path(), wal_text(before, bytes), 0600));
  if (auto done = append(bytes); !done) return undo_or_keep(before, std::move(done.error()));
  entries_.push_back(entry);
  ++generation_;
  if (auto done = tee_.extend_rtmr(entry.rtmr, entry.digest); !done)
    return undo_or_keep(before, std::move(done.error()));
  ::unlink(wal_path().c_str());
  return {};
}

// An append or extension failed. The register says whether the event counts.
Result<void> EventLog::undo_or_keep(std::size_t size_before, Error cause) {
  const bool appended = !entries_.empty() && entries_.back().end > size_before;
  const auto extended_after_all = appended ? registers_equal(replay(entries_.size())) : Result<bool>(false);
  if (extended_after_all && *extended_after_all) {
    ::unlink(wal_path().c_str());
    return {};
  }
  if (appended) entries_.pop_back();
  const auto untouched = registers_equal(replay(entries_.size()));
  if (untouched && *untouched && ::ftruncate(file_.get(), static_cast<off_t>(size_before)) == 0) {
    content_.resize(size_before);
    ::unlink(wal_path().c_str());
  } else {
    defect_ = "an event could be neither completed nor taken back: " + cause.text();
  }
  return fail(std::move(cause).in("the event was not recorded"));
}

Result<void> EventLog::extend(const AaelEvent& event, std::optional<std::uint64_t> pcr) {
  for (const std::string* field : {&event.domain, &event.operation, &event.content})
    if (field->size() > limits::event_field_bytes)
      return fail(ErrorCode::too_large, "event",
                  "a field of the event exceeds " + std::to_string(limits::event_field_bytes) + " bytes");
  CAIRN_CHECK(eventlog::check_event(event, options_.rule));
  const std::uint64_t wanted = pcr.value_or(options_.init_pcr);
  const unsigned rtmr = device::rtmr_of_pcr(static_cast<unsigned>(std::min<std::uint64_t>(wanted, 255)));
  if (options_.form == LogForm::text && rtmr != default_rtmr())
    return fail(ErrorCode::invalid_argument, "RegisterIndex",
                "PCR " + std::to_string(wanted) + " is RTMR" + std::to_string(rtmr) +
                    ", but the text log can record only RTMR" + std::to_string(default_rtmr()));
  if (rtmr < 2) return fail(ErrorCode::permission_denied, "RegisterIndex", "RTMR0 and RTMR1 belong to the firmware");
  const std::string line = event.text();
  const Bytes bytes =
      options_.form == LogForm::text ? to_bytes(line + "\n") : eventlog::tagged_event_record(event, mr_index(rtmr));
  const Digest<48> digest =
      options_.form == LogForm::text ? eventlog::text_line_digest(line) : eventlog::tagged_event_digest(event);
  const std::lock_guard guard(mutex_);
  if (!defect_.empty())
    return fail(ErrorCode::conflict, options_.path.string(), "the event log is invalid: " + defect_);
  if (line.size() > eventlog::limits::aael_line || content_.size() + bytes.size() > eventlog::limits::aael_bytes ||
      entries_.size() >= eventlog::limits::aael_events)
    return fail(ErrorCode::too_large, options_.path.string(), "the event log is full");
  return append_and_extend(bytes, {content_.size() + bytes.size(), rtmr, digest});
}

// Quotes are slow and must not keep events waiting: the state is compared instead of locked, and locked only when
// events keep coming.
Result<EventLog::Consistent> EventLog::consistent(const std::function<Result<Bytes>()>& make_quote) {
  for (int i = 0; i < limits::consistent_tries; ++i) {
    std::unique_lock lock(mutex_);
    const std::uint64_t before = generation_;
    Bytes log = content_;
    lock.unlock();
    CAIRN_TRY(Bytes quote, make_quote());
    lock.lock();
    if (generation_ == before) return Consistent{std::move(quote), std::move(log)};
  }
  const std::lock_guard guard(mutex_);
  CAIRN_TRY(Bytes quote, make_quote());
  return Consistent{std::move(quote), content_};
}

Result<std::vector<AaelEvent>> EventLog::events() const {
  const std::lock_guard guard(mutex_);
  if (options_.form == LogForm::text) {
    CAIRN_TRY(auto log, eventlog::parse_text_log(as_text(content_)));
    return std::move(log.events);
  }
  if (entries_.empty()) return std::vector<AaelEvent>{};
  CAIRN_TRY(const auto log, read_records(content_));
  return eventlog::aael_events(log);
}

std::uint64_t EventLog::generation() const {
  const std::lock_guard guard(mutex_);
  return generation_;
}

std::string EventLog::defect() const {
  const std::lock_guard guard(mutex_);
  return defect_;
}

}  // namespace cairn::aa
