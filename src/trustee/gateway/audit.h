// Who attested, who fetched what, which agents are alive: SQLite, written behind. No secrets. spec/trustee.md §2.4.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/json.h"
#include "net/http.h"
#include "trustee/gateway/sqlite.h"

namespace cairn::trustee::gateway {

struct AuditOptions {
  std::int64_t max_records = 1000;
  std::int64_t retention_days = 3;
  std::int64_t cleanup_interval_hours = 24;
  std::int64_t heartbeat_timeout_minutes = 10;
};

// What an agent says of itself in the header AAInstanceInfo.
struct InstanceInfo {
  std::string instance_id, image_id, instance_name, owner_account_id;
};
// Empty texts where the header is absent or does not parse.
[[nodiscard]] InstanceInfo instance_info(const net::RequestHead& head);
// As a heartbeat needs it; the error's message is the answer's: "Missing AAInstanceInfo header", …
[[nodiscard]] Result<InstanceInfo> required_instance_info(const net::RequestHead& head);

struct AttestationRecord {
  std::string client_ip, session_id, claims, source_service;
  int status = 0;
  Time at;
  InstanceInfo instance;
};
struct ResourceRecord {
  std::string client_ip, session_id, repository, type, tag, method;
  int status = 0;
  Time at;
  InstanceInfo instance;
};

// Any thread. record() never waits: past limits::kAuditQueue records are dropped, counted and logged.
class Audit {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Audit>> open(const std::filesystem::path& file, AuditOptions options,
                                                           Time now);
  ~Audit();  // writes what is queued

  void record(AttestationRecord record);
  void record(ResourceRecord record);
  void flush();  // waits until everything recorded before is written

  // The answers of GET audit/attestation and audit/resources for the query of `head`: {"data":[…],"total":N}.
  [[nodiscard]] Result<Json> attestations(const net::RequestHead& head);
  [[nodiscard]] Result<Json> resources(const net::RequestHead& head);

  [[nodiscard]] Result<void> heartbeat(const InstanceInfo& instance, const std::string& client_ip, Time now);
  // Active instances; older rows are deleted.
  [[nodiscard]] Result<Json> instances(Time now);
  // Deletes what is older than the retention, then the oldest beyond max_records.
  [[nodiscard]] Result<void> clean_up(Time now);

 private:
  using Job = std::function<Result<void>(Audit&)>;
  Audit(Database database, AuditOptions options) : database_(std::move(database)), options_(options) {}
  void push(Job job);
  void write_loop();
  void write_batch(std::deque<Job>& batch);
  struct Filter;
  [[nodiscard]] Result<Json> page(const net::RequestHead& head, const Filter& filter);

  std::mutex database_mutex_;
  Database database_;
  AuditOptions options_;
  std::atomic<std::int64_t> next_cleanup_{0};

  std::mutex queue_mutex_;
  std::condition_variable queue_changed_, queue_drained_;
  std::deque<Job> queue_;
  std::uint64_t dropped_ = 0;
  bool writing_ = false, stopping_ = false;
  std::thread writer_;
};

}  // namespace cairn::trustee::gateway
