// What the gateway tells about itself: counters, the last session and verification of each block, readiness.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"

namespace cairn::tng {

// Durations in buckets, for /metrics. Any thread.
class Histogram {
 public:
  void observe(std::chrono::nanoseconds duration);
  // Appends the Prometheus lines of this series; `labels` without braces.
  void write(std::string& out, std::string_view name, std::string_view labels) const;

 private:
  static constexpr std::array<double, 10> bounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5, 30};  // seconds
  std::array<std::atomic<std::uint64_t>, bounds.size() + 1> buckets_{};
  std::atomic<std::uint64_t> sum_ns_{0};
};

// A secured connection as agreed in its handshake.
struct SessionFacts {
  std::string protocol;  // "ra-tls-h2-encap", "ra-tls-h2", "ra-tls"
  std::string tls_version, group, cipher, alpn, peer;
  bool certificate_compressed = false;
};

// One ingress or egress block. Any thread.
class BlockStatus {
 public:
  BlockStatus(std::string direction, std::size_t id, std::string type, std::map<std::string, std::string> labels);

  std::atomic<std::uint64_t> accepted{0}, failed{0}, to_downstream{0}, from_downstream{0};
  std::atomic<std::int64_t> active{0};
  std::atomic<std::int64_t> busy{0};  // exchanges and tunnels under way: what a drain waits for
  std::atomic<std::uint64_t> sessions{0}, attestations{0}, attestation_failures{0}, plaintext_refused{0},
      plaintext_allowed{0};
  std::atomic<bool> ready{false};
  std::atomic<std::int64_t> own_evidence_at{0};  // seconds since the epoch; 0: none
  Histogram handshake, attestation, first_byte;

  void session(SessionFacts facts);
  // What a verification of the peer came to: facts from the token, or why not.
  void verified(Json facts);
  void verification_failed(const Error& error);
  void listening(const std::string& address);  // where the block was bound

  [[nodiscard]] Json json() const;
  void write_metrics(std::string& out) const;
  [[nodiscard]] std::string listen_address() const;
  [[nodiscard]] std::size_t id() const { return id_; }
  [[nodiscard]] const std::string& name() const { return name_; }  // "ingress 0 (http_proxy)"

 private:
  [[nodiscard]] std::string label_text() const;
  std::string direction_, type_, name_;
  std::size_t id_;
  std::map<std::string, std::string> labels_;
  mutable std::mutex mutex_;
  std::string listen_;
  Json session_, verification_;
};
using BlockStatusPtr = std::shared_ptr<BlockStatus>;

// Counts while alive.
class Busy {
 public:
  explicit Busy(BlockStatus& status) : status_(&status) { ++status_->busy; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() { --status_->busy; }

 private:
  BlockStatus* status_;
};

// All blocks of a process. Blocks are added before anything runs; afterwards any thread reads.
class Status {
 public:
  BlockStatusPtr add(std::string direction, std::size_t id, std::string type,
                     std::map<std::string, std::string> labels);
  void warn(std::vector<std::string> warnings) { warnings_ = std::move(warnings); }
  [[nodiscard]] bool ready() const;
  [[nodiscard]] Json json() const;
  [[nodiscard]] std::string prometheus() const;

 private:
  std::vector<BlockStatusPtr> blocks_;
  std::vector<std::string> warnings_;
};

}  // namespace cairn::tng
