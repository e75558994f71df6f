// The little of SQLite that the audit log needs: a database, a statement, bound values. No SQL text is ever made from
// outside input.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

struct sqlite3;
struct sqlite3_stmt;

namespace cairn::trustee::gateway {

class Database;

// A prepared statement; positions count from 1 when binding, from 0 when reading.
class Statement {
 public:
  Statement& bind(int position, std::int64_t value);
  Statement& bind(int position, std::string_view value);
  // True: a row is there. False: done.
  [[nodiscard]] Result<bool> step();
  [[nodiscard]] Result<void> run();  // to the end, then ready for new values
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] std::string text(int column) const;
  void reset();

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  sqlite3* database_ = nullptr;
};

// One connection, one thread at a time.
class Database {
 public:
  // WAL, a busy timeout of five seconds; the folder must exist.
  [[nodiscard]] static Result<Database> open(const std::filesystem::path& file);
  [[nodiscard]] Result<void> execute(const char* sql);
  [[nodiscard]] Result<Statement> prepare(std::string_view sql);

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace cairn::trustee::gateway
