// cairn-cachefs: mounts an encrypted model folder; under the name gocryptfs it takes that program's command line.
// docs/cairn-cachefs.md
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/log.h"
#include "base/secret.h"
#include "cachefs/dropin.h"
#include "cachefs/supervisor.h"

namespace {

using namespace cairn;
using namespace cairn::cachefs;

struct Arguments {
  MountOptions mount;
  std::string config_content, verify, mode, serve, log_level;
  bool no_allow_other = false, allow_holes = false, foreground = false;
};

void add_mount(CLI::App& app, Arguments& a) {
  MountOptions& m = a.mount;
  app.add_option("--config-content", a.config_content, "all options as one JSON document; others are then refused");
  app.add_option("--source", m.source, "the encrypted model: a folder, or s3://BUCKET/PREFIX");
  add_store_options(app, m.store, true);
  app.add_option("--mountpoint", m.mountpoint, "an empty folder that will show the plain model");
  app.add_option("--passfile", m.passfile, "file whose first line is the password; - for standard input");
  app.add_flag("--wipe-passfile", m.wipe_passfile, "overwrite and remove the password file once it is read");
  app.add_option("--config", m.config, "gocryptfs.conf, where it is not in the source");
  app.add_flag("--rw", m.read_write, "changes go through to the encrypted folder");
  app.add_flag("--allow-other", m.allow_other, "other users may read the mount (the default)");
  app.add_flag("--no-allow-other", a.no_allow_other, "only the mounting user may read it");
  app.add_flag("--nonempty", m.nonempty, "mount over files");
  app.add_flag("--allow-features", m.all_features, "accept volumes with other than gocryptfs' default flags");
  app.add_flag("--allow-holes", a.allow_holes, "full blocks of zeros read as zeros: sparse files, not authenticated");
  app.add_option(
      "--verify", a.verify,
      "seal: the manifest, and the seal of what is read; full: every file before the mount is ready; none (default)");
  app.add_option("--expect-root", m.expect_root, "the manifest's digest that is required, as sha384:HEX");
  app.add_flag("--fail-closed", m.fail_closed, "after one integrity failure every read fails");
  app.add_option("--mode", a.mode, "auto (default), streaming, resident or bounded");
  app.add_option("--serve", a.serve,
                 "auto (default), fuse, or memory: mount the memory itself once all is in it (--preload 100)");
  app.add_option("--memory", m.memory_mib, "MiB for the resident mode; default 60 % of what is available");
  app.add_option("--cache-size", m.cache_mib, "MiB for the bounded mode; default 256");
  app.add_option("--preload", m.preload, "percent of the model in memory before the mount is ready (resident mode)");
  app.add_option("--threads", m.threads, "serving threads; default twice the cores");
  app.add_option("--read-ahead", m.read_ahead_kb, "the kernel's read-ahead for the mount, in KiB");
  app.add_option("--type", m.type, "the mount shows as fuse.TYPE; default cairn");
  app.add_option("--name", m.name, "shown as the mount's source");
  app.add_option("--ready-fd", m.ready_fd, "write \"ready\" to this descriptor when the mount serves");
  app.add_option("--ready-file", m.ready_file, "make this file when the mount serves; removed at the end");
  app.add_option("--status", m.status, "serve /livez, /readyz, /status and /metrics on unix:PATH or HOST:PORT");
  app.add_flag("--foreground", a.foreground, "stay in the foreground (always so; accepted for compatibility)");
  app.add_option("--log-level", a.log_level, "trace, debug, info, warn, error");
}

Result<MountOptions> mount_options(Arguments& a) {
  if (!a.config_content.empty()) {
    if (!a.mount.source.empty() || !a.mount.mountpoint.empty() || !a.mount.passfile.empty())
      return fail(ErrorCode::invalid_argument, "--config-content", "excludes --source, --mountpoint and --passfile");
    CAIRN_TRY(MountOptions out, parse_mount_options(a.config_content));
    out.ready_fd = a.mount.ready_fd;
    return out;
  }
  MountOptions out = a.mount;
  if (a.no_allow_other) out.allow_other = false;
  if (a.allow_holes) out.holes = gocryptfs::Holes::allow;
  if (!a.verify.empty()) {
    CAIRN_TRY(out.verify, verify_by_name(a.verify));
  }
  if (!a.mode.empty()) {
    CAIRN_TRY(out.mode, mode_by_name(a.mode));
  }
  if (!a.serve.empty()) {
    CAIRN_TRY(out.serve, serve_by_name(a.serve));
  }
  CAIRN_CHECK(check_mount_options(out));
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  harden_process();
  const std::string_view called = argc > 0 ? argv[0] : "";
  const bool second = argc > 1 && std::string_view(argv[1]) == "gocryptfs";
  if (second || called.substr(called.rfind('/') + 1) == "gocryptfs") {
    (void)start_logging("gocryptfs", "warn");
    return run_dropin({argv + (second ? 2 : 1), argv + argc});
  }
  CLI::App app("Serves an encrypted model folder (gocryptfs format) as plain files, read-only and checked.",
               "cairn-cachefs");
  app.set_version_flag("--version", "cairn-cachefs 0.1.0");
  app.require_subcommand(1);
  Arguments arguments;
  add_mount(*app.add_subcommand("mount", "mount until SIGTERM"), arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? kExitOk : kExitUsage;
  }
  if (const auto logging = start_logging("cairn-cachefs", arguments.log_level); !logging) {
    std::fprintf(stderr, "cairn-cachefs: %s\n", logging.error().text().c_str());
    return kExitUsage;
  }
  const auto options = mount_options(arguments);
  if (!options) {
    spdlog::error("{}", options.error().text());
    return kExitUsage;
  }
  return run_mount(*options);
}
