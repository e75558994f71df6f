#include "evidence/eventlog/measure.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/encoding.h"
#include "base/json.h"
#include "crypto/hash.h"

namespace cairn::eventlog {
namespace {

constexpr std::string_view kKinds[] = {"begin", "kernel", "image", "engine", "ui",    "config",
                                       "model", "gpu",    "ready", "unload", "reload"};
constexpr std::string_view kContentPrefix = "sha384:";
constexpr std::size_t kNameLength = 128;

bool name_character(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
         c == ':' || c == '@' || c == '+' || c == '-';
}
bool valid_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameLength && std::ranges::all_of(name, name_character);
}

bool allowed_before_ready(Kind kind) {
  return kind != Kind::begin && kind != Kind::ready && kind != Kind::unload && kind != Kind::reload;
}
bool allowed_after_ready(Kind kind) {
  return kind == Kind::model || kind == Kind::config || kind == Kind::unload || kind == Kind::reload;
}

bool holds(std::span<const Measurement> run, Kind kind, std::string_view subject) {
  return std::ranges::any_of(run, [&](const Measurement& m) { return m.kind == kind && m.name == subject; });
}
// A model may come and go more than once after `ready`.
bool repeatable(Kind kind) { return kind == Kind::unload || kind == Kind::reload; }

// Run numbers are plain decimals: "1", "2", …
std::optional<unsigned> run_number(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value == 0 || text[0] == '0') return std::nullopt;
  return value;
}

}  // namespace

std::string_view name(Kind kind) { return kKinds[std::to_underlying(kind)]; }
std::optional<Kind> kind_named(std::string_view text) {
  const auto found = std::ranges::find(kKinds, text);
  if (found == std::end(kKinds)) return std::nullopt;
  return static_cast<Kind>(found - std::begin(kKinds));
}

std::string Measurement::operation() const { return std::string(eventlog::name(kind)) + "/" + name; }
std::string Measurement::content() const { return std::string(kContentPrefix) + hex(digest.view()); }
std::string Measurement::reference_key() const {
  return "measurement." + std::string(eventlog::name(kind)) + "." + name;
}

Result<std::string> measurement_name(std::string_view text) {
  std::string out(text);
  std::ranges::replace(out, '/', '+');
  if (!valid_name(out))
    return fail(ErrorCode::invalid_argument, "name",
                "a measured subject's name has 1 to 128 characters of A-Z a-z 0-9 . _ : @ + - (and / for +)");
  return out;
}

AaelEvent to_event(const Measurement& measurement) {
  return {std::string(measure_domain), measurement.operation(), measurement.content()};
}

Result<Measurement> from_event(const AaelEvent& event) {
  const auto bad = [&](std::string_view what) {
    return fail(ErrorCode::malformed, event.operation, std::string(what));
  };
  const auto slash = event.operation.find('/');
  if (event.domain != measure_domain || slash == std::string::npos) return bad("not an event of measure.cairn.v1");
  const auto kind = kind_named(std::string_view(event.operation).substr(0, slash));
  Measurement out;
  out.name = event.operation.substr(slash + 1);
  if (!kind || !valid_name(out.name)) return bad("an unknown kind, or a name outside the grammar");
  out.kind = *kind;
  const std::string_view content = event.content;
  if (!content.starts_with(kContentPrefix)) return bad("the content is not sha384:<96 hex digits>");
  const auto bytes = from_hex(content.substr(kContentPrefix.size()));
  const auto digest = bytes.and_then([](const Bytes& b) { return Digest<48>::from(b); });
  if (!digest) return bad("the content is not sha384:<96 hex digits>");
  out.digest = *digest;
  if (out.content() != content) return bad("the content's hex digits must be lower case");
  return out;
}

Digest<48> ready_digest(std::span<const Measurement> run) {
  Bytes all;
  for (const auto& m : run) append(all, m.digest.view());
  return crypto::sha384(all);
}

AaelEvent pai_load_model_event(std::string_view model_id, const Digest<48>& digest) {
  const Json content{{"hash", hex(digest.view())}, {"model-id", model_id}};
  return {"trustiflux.alibaba.com", "pai/load-model", compact_json(content)};
}

AaelEvent file_event(std::string_view absolute_path, const Digest<32>& sha256) {
  return {"file", std::string(absolute_path), hex(sha256.view())};
}

// --- writing a run ---

Result<MeasureRun> MeasureRun::begin(std::string_view boot_id, std::span<const AaelEvent> earlier) {
  auto before = read_measurements(earlier, false, true);
  if (!before)
    return fail(ErrorCode::conflict, before.error().where,
                "the log already holds a broken run: " + before.error().message);
  MeasureRun run;
  for (const auto* list : {&before->complete, &before->abandoned})
    for (const auto& r : *list) run.number_ = std::max(run.number_, r.number + 1);
  if (before->open) run.number_ = std::max(run.number_, before->open->number + 1);
  run.run_.push_back({Kind::begin, std::to_string(run.number_), crypto::sha384(as_bytes(boot_id))});
  return run;
}

AaelEvent MeasureRun::begin_event() const { return to_event(run_.front()); }

Result<AaelEvent> MeasureRun::add(Kind kind, std::string_view subject, const Digest<48>& digest) {
  CAIRN_TRY(auto clean, measurement_name(subject));
  if (!(ready_ ? allowed_after_ready(kind) : allowed_before_ready(kind)))
    return fail(
        ErrorCode::invalid_argument, std::string(name(kind)),
        ready_ ? "this kind of subject cannot be measured after ready" : "this kind is not a subject before ready");
  if (kind == Kind::gpu && clean == gpu_inventory)
    return fail(ErrorCode::invalid_argument, "gpu/inventory", "the attestation agent records it, before the first run");
  if (!repeatable(kind) && holds(run_, kind, clean))
    return fail(ErrorCode::already_exists, std::string(name(kind)) + "/" + clean, "measured already in this run");
  run_.push_back({kind, std::move(clean), digest});
  return to_event(run_.back());
}

Result<AaelEvent> MeasureRun::ready() {
  if (ready_) return fail(ErrorCode::conflict, "ready/" + std::to_string(number_), "the run is ready already");
  const Measurement done{Kind::ready, std::to_string(number_), ready_digest(run_)};
  run_.push_back(done);
  ready_ = true;
  return to_event(done);
}

// --- reading a log ---

std::optional<Digest<48>> Measurements::find(Kind kind, std::string_view subject) const {
  if (complete.empty()) return std::nullopt;
  std::optional<Digest<48>> out;
  const auto look = [&](const std::vector<Measurement>& list) {
    for (const auto& m : list) {
      if (m.name != subject) continue;
      if (m.kind == kind || (kind == Kind::model && m.kind == Kind::reload)) out = m.digest;
      if (kind == Kind::model && m.kind == Kind::unload) out.reset();
    }
  };
  look(complete.back().subjects);
  look(later);
  return out;
}

namespace {

// Reads one log event by event. `run_` is the current run with its begin and, once closed, whatever followed it.
class LogReader {
 public:
  explicit LogReader(bool allow_restarts) : allow_restarts_(allow_restarts) {}

  Result<void> next(const AaelEvent& event) {
    if (event.domain != measure_domain) {
      (ready_ ? foreign_after_ : out_.foreign).push_back(event);
      return {};
    }
    CAIRN_TRY(auto m, from_event(event));
    if (m.kind == Kind::begin) return begin(std::move(m));
    if (m.kind == Kind::gpu && m.name == gpu_inventory) return inventory(m);
    if (run_.empty()) return refuse("a subject before begin");
    if (m.kind == Kind::ready) return close(m);
    return subject(std::move(m));
  }

  Result<Measurements> finish(bool require_ready) && {
    if (!run_.empty() && !ready_) out_.open = current();
    if (require_ready && (out_.complete.empty() || out_.open)) {
      return fail(ErrorCode::evidence_rejected,
                  out_.open ? "the machine's measurements are not complete: no ready event after begin"
                            : "the log holds no complete run of measurements");
    }
    return std::move(out_);
  }

 private:
  static std::unexpected<Error> refuse(std::string_view why) {
    return fail(ErrorCode::evidence_rejected, std::string(why));
  }

  Measurements::Run current() const {
    return {number_, {run_.begin() + 1, std::ranges::find(run_, Kind::ready, &Measurement::kind)}};
  }

  Result<void> begin(Measurement m) {
    if (run_number(m.name) != number_ + 1) return refuse("runs are numbered 1, 2, … in order");
    if (number_ != 0 && !allow_restarts_)
      return refuse("the measurer was restarted (a second begin), which is not allowed");
    if (!run_.empty() && !ready_) out_.abandoned.push_back(current());
    for (auto& event : foreign_after_) out_.foreign.push_back(std::move(event));
    foreign_after_.clear();
    out_.later.clear();
    ++number_;
    ready_ = false;
    run_.clear();
    run_.push_back(std::move(m));
    return {};
  }

  Result<void> inventory(const Measurement& m) {
    if (number_ != 0 || out_.inventory) return refuse("the inventory of GPUs is recorded once, before the first run");
    out_.inventory = m.digest;
    return {};
  }

  Result<void> close(const Measurement& m) {
    if (ready_ || run_number(m.name) != number_) return refuse("a ready that closes no run");
    if (m.digest != ready_digest(run_)) return refuse("the digest of ready is not that of the run's measurements");
    out_.complete.push_back(current());
    run_.push_back(m);
    ready_ = true;
    return {};
  }

  Result<void> subject(Measurement m) {
    if (!(ready_ ? allowed_after_ready(m.kind) : allowed_before_ready(m.kind)))
      return refuse(ready_ ? "a kind that may not follow ready" : "a kind that may not precede ready");
    if (!repeatable(m.kind) && holds(run_, m.kind, m.name)) return refuse("an operation twice in one run");
    if (ready_) out_.later.push_back(m);
    run_.push_back(std::move(m));
    return {};
  }

  bool allow_restarts_;
  bool ready_ = false;
  unsigned number_ = 0;
  std::vector<Measurement> run_;
  std::vector<AaelEvent> foreign_after_;
  Measurements out_;
};

}  // namespace

Result<Measurements> read_measurements(std::span<const AaelEvent> events, bool require_ready, bool allow_restarts) {
  LogReader reader(allow_restarts);
  for (std::size_t i = 0; i < events.size(); ++i)
    if (const auto ok = reader.next(events[i]); !ok)
      return fail(ErrorCode::evidence_rejected, "event " + std::to_string(i + 1) + " (" + events[i].operation + ")",
                  ok.error().message);
  return std::move(reader).finish(require_ready);
}

}  // namespace cairn::eventlog
