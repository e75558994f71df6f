#include "cli/measure/measure.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "base/encoding.h"
#include "base/file.h"
#include "cli/measure/files.h"
#include "cli/measure/predict.h"
#include "evidence/eventlog/limits.h"

namespace cairn::cli {

namespace fs = std::filesystem;

namespace {

int print(const Result<Json>& result) {
  if (result) {
    std::cout << result->dump(2) << '\n';
    return 0;
  }
  std::cerr << "cairn measure: " << result.error().text() << '\n';
  return 1;
}

void add_boot(CLI::App& measure, int& exit_code) {
  auto* app = measure.add_subcommand("boot", "MRTD and RTMR0-2 of a TD that QEMU boots directly through OVMF");
  struct Options {
    BootInputs in;
    std::string memory;
  };
  auto o = std::make_shared<Options>();
  app->add_option("--firmware", o->in.firmware, "TDVF image (OVMF.fd)")->required();
  app->add_option("--kernel", o->in.kernel, "bzImage given to QEMU; without it only MRTD is predicted");
  app->add_option("--initrd", o->in.initrd, "initrd given to QEMU");
  app->add_option("--cmdline", o->in.cmdline, "command line given to QEMU's -append");
  app->add_option("--memory", o->memory, "the machine's memory, such as 4G");
  app->add_option("--acpi-loader", o->in.acpi_loader, "fw_cfg blob etc/table-loader");
  app->add_option("--acpi-rsdp", o->in.acpi_rsdp, "fw_cfg blob etc/acpi/rsdp");
  app->add_option("--acpi-tables", o->in.acpi_tables, "fw_cfg blob etc/acpi/tables");
  app->add_option("--acpi-from-log", o->in.acpi_from_log, "take the three ACPI digests from this CCEL instead");
  app->callback([o, &exit_code] {
    const auto memory = o->memory.empty() ? Result<std::uint64_t>(0) : parse_memory(o->memory);
    exit_code = print(memory.and_then([&](std::uint64_t bytes) {
      o->in.memory = bytes;
      return predict_boot(o->in);
    }));
  });
}

void add_runtime(CLI::App& measure, int& exit_code) {
  auto* app = measure.add_subcommand("runtime", "RTMR3 and reference values from a measurement manifest");
  auto file = std::make_shared<fs::path>();
  app->add_option("manifest", *file, "JSON: boot_id, subjects [{kind, name, sha384 or file}], doubles")->required();
  app->callback([file, &exit_code] {
    exit_code = print(
        read_text(*file).and_then([](const std::string& t) { return parse_json(t); }).and_then([&](const Json& j) {
          return predict_runtime(j, file->parent_path());
        }));
  });
}

Result<Json> measure_files(const fs::path& path, const std::string& kind, const std::string& name,
                           const fs::path& output) {
  const auto known = eventlog::kind_named(kind);
  if (!known) return fail(ErrorCode::invalid_argument, "--kind", "not a kind of subject");
  const auto rules = known == eventlog::Kind::model ? TreeRules::model : TreeRules::everything;
  CAIRN_TRY(const auto clean, eventlog::measurement_name(name));
  CAIRN_TRY(const auto manifest, manifest_of(path, kind, name, rules));
  CAIRN_TRY(const auto text, eventlog::manifest_text(manifest));
  if (!output.empty()) CAIRN_CHECK(write_text(output, text));
  const eventlog::Measurement m{*known, clean, eventlog::subject_digest(text)};
  std::uint64_t bytes = 0;
  for (const auto& f : manifest.files) bytes += f.size;
  return Json{{"files", manifest.files.size()},
              {"bytes", bytes},
              {"sha384", hex(m.digest.view())},
              {"reference_values", {{m.reference_key(), Json::array({m.content()})}}}};
}

void add_files(CLI::App& measure, int& exit_code) {
  auto* app = measure.add_subcommand("files", "manifest of a folder or file: model, engine, user interface");
  struct Options {
    fs::path path, output;
    std::string kind = "model", name;
  };
  auto o = std::make_shared<Options>();
  app->add_option("path", o->path, "folder or file")->required();
  app->add_option("--kind", o->kind, "model, engine, ui, image, config")->capture_default_str();
  app->add_option("--name", o->name, "the subject's name; the file's own by default");
  app->add_option("-o,--output", o->output, "write the manifest here");
  app->callback([o, &exit_code] {
    if (o->name.empty())
      o->name = o->path.filename().empty() ? o->path.parent_path().filename().string() : o->path.filename().string();
    exit_code = print(measure_files(o->path, o->kind, o->name, o->output));
  });
}

void add_log(CLI::App& measure, int& exit_code) {
  auto* app = measure.add_subcommand("log", "registers and events of a CCEL or AAEL");
  auto file = std::make_shared<fs::path>("/sys/firmware/acpi/tables/data/CCEL");
  app->add_option("file", *file, "event log")->capture_default_str();
  app->callback([file, &exit_code] {
    exit_code =
        print(read_file(*file, eventlog::limits::ccel_bytes).and_then([](const Bytes& b) { return replay_log(b); }));
  });
}

}  // namespace

void add_measure(CLI::App& app, int& exit_code) {
  auto* measure = app.add_subcommand("measure", "predict what a machine must report, and read its event logs");
  measure->require_subcommand(1);
  add_boot(*measure, exit_code);
  add_runtime(*measure, exit_code);
  add_files(*measure, exit_code);
  add_log(*measure, exit_code);
}

}  // namespace cairn::cli
