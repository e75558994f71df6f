#include "tng/status.h"

#include <algorithm>
#include <cstdio>

namespace cairn::tng {
namespace {

// Label values may hold text from configuration.
std::string escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out.push_back('\\');
    if (c == '\n')
      out += "\\n";
    else
      out.push_back(c);
  }
  return out;
}

std::string number(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", v);
  return text;
}

}  // namespace

void Histogram::observe(std::chrono::nanoseconds duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  const auto bucket =
      static_cast<std::size_t>(std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin());
  ++buckets_[bucket];
  sum_ns_ += static_cast<std::uint64_t>(duration.count());
}

void Histogram::write(std::string& out, std::string_view name, std::string_view labels) const {
  std::uint64_t total = 0;
  const std::string stem(name), inside(labels);
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    total += buckets_[i];
    const std::string bound = i < bounds.size() ? number(bounds[i]) : "+Inf";
    out += stem + "_bucket{" + inside + ",le=\"" + bound + "\"} " + std::to_string(total) + "\n";
  }
  out += stem + "_sum{" + inside + "} " + number(static_cast<double>(sum_ns_) / 1e9) + "\n";
  out += stem + "_count{" + inside + "} " + std::to_string(total) + "\n";
}

BlockStatus::BlockStatus(std::string direction, std::size_t id, std::string type,
                         std::map<std::string, std::string> labels)
    : direction_(std::move(direction)), type_(std::move(type)), id_(id), labels_(std::move(labels)) {
  name_ = direction_ + " " + std::to_string(id_) + " (" + type_ + ")";
}

void BlockStatus::session(SessionFacts facts) {
  ++sessions;
  const std::scoped_lock lock(mutex_);
  session_ = {{"protocol", facts.protocol}, {"tls", facts.tls_version},
              {"group", facts.group},       {"cipher", facts.cipher},
              {"alpn", facts.alpn},         {"peer", facts.peer},
              {"at", rfc3339(now())},       {"certificate_compressed", facts.certificate_compressed}};
}

void BlockStatus::verified(Json facts) {
  ++attestations;
  facts["ok"] = true;
  facts["at"] = rfc3339(now());
  const std::scoped_lock lock(mutex_);
  verification_ = std::move(facts);
}

void BlockStatus::verification_failed(const Error& error) {
  ++attestation_failures;
  const std::scoped_lock lock(mutex_);
  verification_ = {{"ok", false},
                   {"at", rfc3339(now())},
                   {"code", std::string(cairn::name(error.code))},
                   {"where", error.where},
                   {"error", error.message}};
}

void BlockStatus::listening(const std::string& address) {
  const std::scoped_lock lock(mutex_);
  listen_ = address;
}
std::string BlockStatus::listen_address() const {
  const std::scoped_lock lock(mutex_);
  return listen_;
}

Json BlockStatus::json() const {
  Json out = {{"id", id_},
              {"type", type_},
              {"ready", ready.load()},
              {"connections", {{"accepted", accepted.load()}, {"active", active.load()}, {"failed", failed.load()}}},
              {"bytes", {{"to_downstream", to_downstream.load()}, {"from_downstream", from_downstream.load()}}},
              {"plaintext", {{"allowed", plaintext_allowed.load()}, {"refused", plaintext_refused.load()}}},
              {"sessions", sessions.load()},
              {"attestations", attestations.load()},
              {"attestation_failures", attestation_failures.load()}};
  if (const auto at = own_evidence_at.load(); at != 0) out["own_evidence_at"] = rfc3339({at});
  const std::scoped_lock lock(mutex_);
  out["listen"] = listen_;
  out["last_session"] = session_;
  out["last_verification"] = verification_;
  return out;
}

std::string BlockStatus::label_text() const {
  std::string out = direction_ + "_type=\"" + type_ + "\"," + direction_ + "_id=\"" + std::to_string(id_) + "\"";
  for (const auto& [key, value] : labels_) out += "," + key + "=\"" + escaped(value) + "\"";
  return out;
}

void BlockStatus::write_metrics(std::string& out) const {
  const std::string labels = label_text();
  const auto line = [&](const char* name, auto value) {
    out += std::string(name) + "{" + labels + "} " + std::to_string(value) + "\n";
  };
  line("cx_total", accepted.load());
  line("cx_active", active.load());
  line("cx_failed", failed.load());
  line("tx_bytes_total", to_downstream.load());
  line("rx_bytes_total", from_downstream.load());
  line("cairn_tng_sessions_total", sessions.load());
  line("cairn_tng_attestations_total", attestations.load());
  line("cairn_tng_attestation_failures_total", attestation_failures.load());
  line("cairn_tng_plaintext_refused_total", plaintext_refused.load());
  line("cairn_tng_plaintext_allowed_total", plaintext_allowed.load());
  if (const auto at = own_evidence_at.load(); at != 0) line("cairn_tng_evidence_age_seconds", now().seconds - at);
  handshake.write(out, "cairn_tng_handshake_seconds", labels);
  attestation.write(out, "cairn_tng_attestation_seconds", labels);
  first_byte.write(out, "cairn_tng_first_byte_seconds", labels);
}

BlockStatusPtr Status::add(std::string direction, std::size_t id, std::string type,
                           std::map<std::string, std::string> labels) {
  blocks_.push_back(std::make_shared<BlockStatus>(std::move(direction), id, std::move(type), std::move(labels)));
  return blocks_.back();
}

bool Status::ready() const {
  return std::ranges::all_of(blocks_, [](const BlockStatusPtr& b) { return b->ready.load(); });
}

Json Status::json() const {
  Json out = {{"ready", ready()}, {"warnings", warnings_}, {"ingress", Json::array()}, {"egress", Json::array()}};
  for (const auto& block : blocks_)
    out[block->name().starts_with("ingress") ? "ingress" : "egress"].push_back(block->json());
  return out;
}

std::string Status::prometheus() const {
  std::string out = "live 1\n";
  for (const auto& block : blocks_) block->write_metrics(out);
  return out;
}

}  // namespace cairn::tng
