#include "trustee/gateway/audit.h"

#include <spdlog/spdlog.h>

#include <charconv>

#include "base/encoding.h"
#include "base/file.h"
#include "base/log.h"
#include "trustee/api.h"
#include "trustee/limits.h"

namespace cairn::trustee::gateway {
namespace {

constexpr const char* kSchema = R"sql(
CREATE TABLE IF NOT EXISTS attestations (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, client_ip TEXT, session_id TEXT,
  claims TEXT, source_service TEXT, status INTEGER, successful INTEGER, instance_id TEXT, image_id TEXT, instance_name TEXT,
  owner_account_id TEXT);
CREATE INDEX IF NOT EXISTS attestations_at ON attestations (at);
CREATE TABLE IF NOT EXISTS resources (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, client_ip TEXT, session_id TEXT,
  repository TEXT, type TEXT, tag TEXT, method TEXT, status INTEGER, successful INTEGER, instance_id TEXT, image_id TEXT,
  instance_name TEXT, owner_account_id TEXT);
CREATE INDEX IF NOT EXISTS resources_at ON resources (at);
CREATE TABLE IF NOT EXISTS instances (instance_id TEXT PRIMARY KEY, created_at INTEGER NOT NULL, last_heartbeat INTEGER NOT NULL,
  client_ip TEXT, image_id TEXT, instance_name TEXT, owner_account_id TEXT);
)sql";

std::string short_text(std::string_view text) { return printable(text, limits::kAuditText); }

Json base_fields(std::int64_t id, Time created, Time updated) {
  return {{"ID", id}, {"CreatedAt", rfc3339(created)}, {"UpdatedAt", rfc3339(updated)}, {"DeletedAt", nullptr}};
}

std::optional<bool> parse_bool(std::string_view text) {
  for (const auto yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == yes) return true;
  for (const auto no : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return false;
  return std::nullopt;
}

std::int64_t number_parameter(const net::RequestHead& head, std::string_view name, std::int64_t fallback,
                              std::int64_t most) {
  const auto text = head.parameter(name);
  std::int64_t value = 0;
  if (!text || std::from_chars(text->data(), text->data() + text->size(), value).ec != std::errc{} || value < 0)
    return fallback;
  return std::min(value, most);
}

bool successful(const ResourceRecord& record) {
  if (record.status == 200) return true;
  return (record.method == "POST" && (record.status == 201 || record.status == 204)) ||
         (record.method == "DELETE" && record.status == 204);
}

Result<InstanceInfo> parse_instance(std::string_view text) {
  CAIRN_TRY(const Json json, parse_json(text, {.bytes = limits::kAaInstanceInfo, .depth = 4}));
  if (!json.is_object()) return fail(ErrorCode::malformed, "not an object");
  const auto member = [&](const char* name) { return short_text(text_member(json, name).value_or("")); };
  InstanceInfo out{member("instance_id"), member("image_id"), member("instance_name"), member("owner_account_id")};
  if (out.instance_id.empty()) out.instance_id = member("eas_instance_id");
  return out;
}

void bind_instance(Statement& statement, int position, const InstanceInfo& instance) {
  statement.bind(position, instance.instance_id)
      .bind(position + 1, instance.image_id)
      .bind(position + 2, instance.instance_name)
      .bind(position + 3, instance.owner_account_id);
}

}  // namespace

InstanceInfo instance_info(const net::RequestHead& head) {
  const auto header = head.headers.get("AAInstanceInfo");
  return header ? parse_instance(*header).value_or(InstanceInfo{}) : InstanceInfo{};
}

Result<InstanceInfo> required_instance_info(const net::RequestHead& head) {
  const auto header = head.headers.get("AAInstanceInfo");
  if (!header) return fail(ErrorCode::invalid_argument, "Missing AAInstanceInfo header");
  auto parsed = parse_instance(*header);
  if (!parsed) return fail(ErrorCode::invalid_argument, "Invalid AAInstanceInfo format");
  if (parsed->instance_id.empty()) return fail(ErrorCode::invalid_argument, "Missing instance_id in AAInstanceInfo");
  return parsed;
}

Result<std::unique_ptr<Audit>> Audit::open(const std::filesystem::path& file, AuditOptions options, Time now) {
  CAIRN_CHECK(make_dirs(file.parent_path(), 0700));
  CAIRN_TRY(Database database, Database::open(file));
  CAIRN_CHECK(database.execute(kSchema));
  auto out = std::unique_ptr<Audit>(new Audit(std::move(database), options));
  CAIRN_CHECK(out->clean_up(now));
  out->next_cleanup_ = now.seconds + options.cleanup_interval_hours * 3600;
  out->writer_ = std::thread([audit = out.get()] { audit->write_loop(); });
  return out;
}

Audit::~Audit() {
  {
    const std::scoped_lock lock(queue_mutex_);
    stopping_ = true;
  }
  queue_changed_.notify_all();
  if (writer_.joinable()) writer_.join();
}

void Audit::push(Job job) {
  {
    const std::scoped_lock lock(queue_mutex_);
    if (queue_.size() >= limits::kAuditQueue) {
      if ((dropped_++ & 0xfff) == 0)
        spdlog::warn("the audit database is too slow: {} records dropped so far", dropped_);
      return;
    }
    queue_.push_back(std::move(job));
  }
  queue_changed_.notify_one();
}

void Audit::write_loop() {
  std::unique_lock lock(queue_mutex_);
  for (;;) {
    queue_changed_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (queue_.empty() && stopping_) return;
    std::deque<Job> batch;
    batch.swap(queue_);
    writing_ = true;
    lock.unlock();
    write_batch(batch);
    lock.lock();
    writing_ = false;
    queue_drained_.notify_all();
  }
}

void Audit::write_batch(std::deque<Job>& batch) {
  const std::scoped_lock lock(database_mutex_);
  auto result = database_.execute("BEGIN");
  for (auto& job : batch)
    if (result) result = job(*this);
  if (result) result = database_.execute("COMMIT");
  if (result) return;
  spdlog::error("{} audit records lost: {}", batch.size(), result.error().text());
  (void)database_.execute("ROLLBACK");
}

void Audit::flush() {
  std::unique_lock lock(queue_mutex_);
  queue_drained_.wait(lock, [&] { return queue_.empty() && !writing_; });
}

void Audit::record(AttestationRecord r) {
  const bool due = r.at.seconds >= next_cleanup_;
  push([r = std::move(r)](Audit& audit) -> Result<void> {
    CAIRN_TRY(auto insert,
              audit.database_.prepare("INSERT INTO attestations (at, client_ip, session_id, claims, source_service, "
                                      "status, successful, instance_id, image_id, instance_name, owner_account_id) "
                                      "VALUES (?,?,?,?,?,?,?,?,?,?,?)"));
    const std::string claims = r.claims.size() <= limits::kAuditClaims ? r.claims : std::string();
    insert.bind(1, r.at.seconds)
        .bind(2, r.client_ip)
        .bind(3, short_text(r.session_id))
        .bind(4, claims)
        .bind(5, r.source_service)
        .bind(6, r.status)
        .bind(7, r.status == 200 ? 1 : 0);
    bind_instance(insert, 8, r.instance);
    return insert.run();
  });
  if (!due) return;
  push([](Audit& audit) -> Result<void> {
    audit.next_cleanup_ = now().seconds + audit.options_.cleanup_interval_hours * 3600;
    return audit.clean_up(now());
  });
}

void Audit::record(ResourceRecord r) {
  push([r = std::move(r)](Audit& audit) -> Result<void> {
    CAIRN_TRY(auto insert, audit.database_.prepare(
                               "INSERT INTO resources (at, client_ip, session_id, repository, type, tag, method, "
                               "status, successful, instance_id, image_id, instance_name, owner_account_id) "
                               "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"));
    insert.bind(1, r.at.seconds)
        .bind(2, r.client_ip)
        .bind(3, short_text(r.session_id))
        .bind(4, short_text(r.repository))
        .bind(5, short_text(r.type))
        .bind(6, short_text(r.tag))
        .bind(7, r.method)
        .bind(8, r.status)
        .bind(9, successful(r) ? 1 : 0);
    bind_instance(insert, 10, r.instance);
    return insert.run();
  });
}

// A page of one table: fixed SQL, values bound.
struct Audit::Filter {
  const char* table;
  std::vector<std::string_view> texts;    // columns that a parameter of the same name must equal
  std::vector<std::string_view> columns;  // text columns of the answer
  bool with_body = false;                 // the member request_body, always ""
};

Result<Json> Audit::attestations(const net::RequestHead& head) {
  static const Filter filter{"attestations",
                             {"session_id", "source_service", "instance_id"},
                             {"client_ip", "session_id", "claims", "source_service", "instance_id", "image_id",
                              "instance_name", "owner_account_id"},
                             true};
  return page(head, filter);
}

Result<Json> Audit::resources(const net::RequestHead& head) {
  static const Filter filter{"resources",
                             {"session_id", "repository", "type", "tag", "method", "instance_id"},
                             {"client_ip", "session_id", "repository", "type", "tag", "method", "instance_id",
                              "image_id", "instance_name", "owner_account_id"}};
  return page(head, filter);
}

Result<Json> Audit::page(const net::RequestHead& head, const Filter& filter) {
  std::string where = " WHERE 1";
  std::vector<std::string> texts;
  for (const auto column : filter.texts)
    if (auto value = head.parameter(column); value && !value->empty()) {
      where += " AND " + std::string(column) + " = ?";
      texts.push_back(*std::move(value));
    }
  if (const auto value = parse_bool(head.parameter("successful").value_or("")))
    where += *value ? " AND successful" : " AND NOT successful";
  for (const auto& [name, test] : {std::pair{"start_time", " AND at >= "}, std::pair{"end_time", " AND at <= "}})
    if (const auto time = parse_rfc3339(head.parameter(name).value_or("")))
      where += test + std::to_string(time->seconds);
  const auto limit = number_parameter(head, "limit", 100, limits::kAuditPage);
  const auto offset = number_parameter(head, "offset", 0, INT32_MAX);

  const std::scoped_lock lock(database_mutex_);
  const auto bound = [&](const std::string& sql) -> Result<Statement> {
    CAIRN_TRY(auto statement, database_.prepare(sql));
    for (std::size_t i = 0; i < texts.size(); ++i) statement.bind(static_cast<int>(i) + 1, texts[i]);
    return statement;
  };
  CAIRN_TRY(auto count, bound("SELECT count(*) FROM " + std::string(filter.table) + where));
  CAIRN_CHECK(count.step());
  std::string columns = "id, at, status, successful";
  for (const auto column : filter.columns) columns += ", " + std::string(column);
  CAIRN_TRY(auto rows,
            bound("SELECT " + columns + " FROM " + filter.table + where + " ORDER BY at DESC, id DESC LIMIT " +
                  std::to_string(limit) + " OFFSET " + std::to_string(offset)));
  Json data = Json::array();
  for (;;) {
    CAIRN_TRY(const bool more, rows.step());
    if (!more) break;
    const Time at{rows.integer(1)};
    Json record = base_fields(rows.integer(0), at, at);
    record["status"] = rows.integer(2);
    record["successful"] = rows.integer(3) != 0;
    record["timestamp"] = rfc3339(at);
    for (std::size_t i = 0; i < filter.columns.size(); ++i)
      record[std::string(filter.columns[i])] = rows.text(static_cast<int>(i) + 4);
    if (filter.with_body) record["request_body"] = "";
    data.push_back(std::move(record));
  }
  return Json{{"data", std::move(data)}, {"total", count.integer(0)}};
}

Result<void> Audit::heartbeat(const InstanceInfo& instance, const std::string& client_ip, Time now) {
  const std::scoped_lock lock(database_mutex_);
  CAIRN_TRY(auto count, database_.prepare("SELECT count(*) FROM instances WHERE instance_id <> ?"));
  CAIRN_CHECK(count.bind(1, instance.instance_id).step());
  if (count.integer(0) >= static_cast<std::int64_t>(limits::kHeartbeatInstances))
    return fail(ErrorCode::too_large, "too many agents are registered");
  CAIRN_TRY(auto upsert,
            database_.prepare(
                "INSERT INTO instances (instance_id, created_at, last_heartbeat, client_ip, image_id, instance_name, "
                "owner_account_id) VALUES (?1,?2,?2,?3,?4,?5,?6) ON CONFLICT (instance_id) DO UPDATE SET "
                "last_heartbeat=?2, client_ip=?3, image_id=?4, instance_name=?5, owner_account_id=?6"));
  upsert.bind(1, instance.instance_id)
      .bind(2, now.seconds)
      .bind(3, client_ip)
      .bind(4, instance.image_id)
      .bind(5, instance.instance_name)
      .bind(6, instance.owner_account_id);
  return upsert.run();
}

Result<Json> Audit::instances(Time now) {
  const std::scoped_lock lock(database_mutex_);
  CAIRN_TRY(auto old, database_.prepare("DELETE FROM instances WHERE last_heartbeat <= ?"));
  CAIRN_CHECK(old.bind(1, now.seconds - options_.heartbeat_timeout_minutes * 60).run());
  CAIRN_TRY(auto rows,
            database_.prepare("SELECT rowid, created_at, last_heartbeat, instance_id, image_id, instance_name, "
                              "owner_account_id, client_ip FROM instances ORDER BY last_heartbeat DESC"));
  Json active = Json::array();
  for (;;) {
    CAIRN_TRY(const bool more, rows.step());
    if (!more) break;
    Json record = base_fields(rows.integer(0), {rows.integer(1)}, {rows.integer(2)});
    record["last_heartbeat"] = rfc3339({rows.integer(2)});
    int column = 3;
    for (const char* name : {"instance_id", "image_id", "instance_name", "owner_account_id", "client_ip"})
      record[name] = rows.text(column++);
    active.push_back(std::move(record));
  }
  const auto count = active.size();
  return Json{{"active_aa_instances", std::move(active)}, {"count", count}, {"timestamp", rfc3339(now)}};
}

Result<void> Audit::clean_up(Time now) {
  for (const std::string table : {"attestations", "resources"}) {
    CAIRN_TRY(auto old, database_.prepare("DELETE FROM " + table + " WHERE at < ?"));
    CAIRN_CHECK(old.bind(1, now.seconds - options_.retention_days * 86400).run());
    CAIRN_TRY(auto extra, database_.prepare("DELETE FROM " + table + " WHERE id NOT IN (SELECT id FROM " + table +
                                            " ORDER BY at DESC, id DESC LIMIT ?)"));
    CAIRN_CHECK(extra.bind(1, options_.max_records).run());
  }
  return {};
}

}  // namespace cairn::trustee::gateway
