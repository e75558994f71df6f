#include "trustee/gateway/sqlite.h"

#include <sqlite3.h>

namespace cairn::trustee::gateway {
namespace {

std::unexpected<Error> failed(sqlite3* database, std::string_view action) {
  return fail(ErrorCode::io_failed, "audit database",
              std::string(action) + ": " + (database ? sqlite3_errmsg(database) : "no memory"));
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
void Database::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

Statement& Statement::bind(int position, std::int64_t value) {
  sqlite3_bind_int64(statement_.get(), position, value);
  return *this;
}

Statement& Statement::bind(int position, std::string_view value) {
  sqlite3_bind_text(statement_.get(), position, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT);
  return *this;
}

Result<bool> Statement::step() {
  const int rc = sqlite3_step(statement_.get());
  if (rc == SQLITE_ROW) return true;
  if (rc == SQLITE_DONE) return false;
  return failed(database_, "query");
}

Result<void> Statement::run() {
  auto more = step();
  while (more && *more) more = step();
  reset();
  if (!more) return fail(more.error());
  return {};
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }

std::string Statement::text(int column) const {
  const auto* text = sqlite3_column_text(statement_.get(), column);
  if (!text) return {};
  return {reinterpret_cast<const char*>(text),
          static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

void Statement::reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

Result<Database> Database::open(const std::filesystem::path& file) {
  sqlite3* raw = nullptr;
  const int rc =
      sqlite3_open_v2(file.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database out;
  out.database_.reset(raw);
  if (rc != SQLITE_OK) return failed(raw, "open " + file.string());
  sqlite3_busy_timeout(raw, 5000);
  CAIRN_CHECK(out.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"));
  return out;
}

Result<void> Database::execute(const char* sql) {
  if (sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return failed(database_.get(), "execute");
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(database_.get(), sql.data(), static_cast<int>(sql.size()), &raw, nullptr) != SQLITE_OK)
    return failed(database_.get(), "prepare");
  Statement out;
  out.statement_.reset(raw);
  out.database_ = database_.get();
  return out;
}

}  // namespace cairn::trustee::gateway
