#include "guest/common/daemon.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/file.h"
#include "base/log.h"

namespace cairn::guest {

int run_program(CLI::App& app, int argc, char** argv, const std::string& program, const std::string& log_level,
                const bool& json_logs, const std::function<Result<void>()>& body) {
  app.set_version_flag("-V,--version", program + " " + CAIRN_VERSION);
  app.get_formatter()->column_width(36);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  auto done = start_logging(program, log_level, json_logs ? LogFormat::json : LogFormat::text);
  if (done) done = body();
  if (done) return 0;
  std::fprintf(stderr, "%s: %s\n", program.c_str(), done.error().text().c_str());
  return 1;
}

Result<net::Endpoint> listen_unix(net::TtrpcServer& server, std::string_view address) {
  CAIRN_TRY(const auto endpoint, net::Endpoint::parse(address));
  if (!endpoint.is_unix() || !endpoint.path.is_absolute())
    return fail(ErrorCode::invalid_argument, printable(address), "the socket address must be unix:///absolute/path");
  CAIRN_CHECK(make_dirs(endpoint.path.parent_path(), 0700));
  return server.listen(endpoint);
}

}  // namespace cairn::guest
