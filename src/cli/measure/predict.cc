#include "cli/measure/predict.h"

#include <charconv>

#include "base/encoding.h"
#include "base/file.h"
#include "cli/measure/files.h"
#include "evidence/eventlog/claims.h"

namespace cairn::cli {

namespace fs = std::filesystem;

namespace {

// Reads an input and notes what was read.
class Inputs {
 public:
  Result<Bytes> read(std::string_view name, const fs::path& path, std::size_t limit) {
    CAIRN_TRY(auto bytes, read_file(path, limit));
    note(name, path, crypto::sha256(bytes), bytes.size());
    return bytes;
  }
  Result<FileDigests> hash(std::string_view name, const fs::path& path) {
    CAIRN_TRY(const auto digests, hash_file(path));
    note(name, path, digests.sha256, digests.size);
    return digests;
  }
  [[nodiscard]] Json take() && { return std::move(seen_); }

 private:
  void note(std::string_view name, const fs::path& path, const Digest<32>& sha256, std::uint64_t size) {
    seen_[std::string(name)] = {{"path", path.string()}, {"sha256", hex(sha256.view())}, {"size", size}};
  }
  Json seen_ = Json::object();
};

// The three ACPI digests in the log of a guest of the same shape: the EV_PLATFORM_CONFIG_FLAGS events of RTMR0.
Result<predict::AcpiDigests> acpi_of_log(ByteView bytes) {
  CAIRN_TRY(const auto log, eventlog::parse_ccel(bytes));
  std::vector<Digest<48>> found;
  for (const auto& event : log.events) {
    if (event.index != 1 || event.type != eventlog::type::platform_config_flags) continue;
    CAIRN_TRY(const auto digest, Digest<48>::from(event.digest(eventlog::Algorithm::sha384)));
    found.push_back(digest);
  }
  if (found.size() != 3)
    return fail(ErrorCode::malformed, "acpi-from-log",
                "the log has " + std::to_string(found.size()) + " ACPI events instead of three");
  return predict::AcpiDigests{found[0], found[1], found[2]};
}

Result<std::optional<predict::AcpiDigests>> acpi(const BootInputs& in, Inputs& inputs) {
  if (!in.acpi_from_log.empty()) {
    CAIRN_TRY(const auto log, inputs.read("acpi_from_log", in.acpi_from_log, limits::acpi_bytes));
    return acpi_of_log(log).transform([](const auto& d) { return std::optional(d); });
  }
  if (in.acpi_loader.empty() && in.acpi_rsdp.empty() && in.acpi_tables.empty()) return std::nullopt;
  if (in.acpi_loader.empty() || in.acpi_rsdp.empty() || in.acpi_tables.empty())
    return fail(ErrorCode::invalid_argument, "acpi", "RTMR0 needs all three ACPI blobs: loader, rsdp and tables");
  CAIRN_TRY(const auto loader, inputs.hash("acpi_loader", in.acpi_loader));
  CAIRN_TRY(const auto rsdp, inputs.hash("acpi_rsdp", in.acpi_rsdp));
  CAIRN_TRY(const auto tables, inputs.hash("acpi_tables", in.acpi_tables));
  return predict::AcpiDigests{loader.sha384, rsdp.sha384, tables.sha384};
}

Json events_json(const std::vector<predict::Event>& events) {
  Json out = Json::array();
  for (const auto& e : events) out.push_back({{"name", e.name}, {"sha384", hex(e.digest.view())}});
  return out;
}

Result<Digest<48>> kernel_digest(ByteView kernel, std::uint64_t initrd_size, std::uint64_t memory) {
  CAIRN_TRY(const auto patched, predict::patched_kernel(kernel, initrd_size, memory));
  CAIRN_TRY(const auto hash, predict::authenticode(patched, crypto::Hash::sha384));
  return Digest<48>::from(hash);
}

Result<void> predict_registers(const BootInputs& in, predict::DirectBoot boot, Inputs& inputs, Json& out) {
  if (in.memory == 0)
    return fail(ErrorCode::invalid_argument, "memory", "the machine's memory decides where the initrd lies");
  std::uint64_t initrd_size = 0;
  if (!in.initrd.empty()) {
    CAIRN_TRY(const auto initrd, inputs.hash("initrd", in.initrd));
    boot.initrd = initrd.sha384;
    initrd_size = initrd.size;
  }
  CAIRN_TRY(const auto kernel, inputs.read("kernel", in.kernel, predict::kMaxKernel));
  CAIRN_TRY(boot.kernel, kernel_digest(kernel, initrd_size, in.memory));
  CAIRN_TRY(boot.command_line, predict::command_line_digest(in.cmdline, boot.initrd.has_value()));
  CAIRN_TRY(boot.acpi, acpi(in, inputs));
  CAIRN_TRY(const auto registers, predict::direct_boot(boot));
  if (registers.rtmr0) {
    out["rtmr0"] = hex(registers.rtmr0->view());
    out["events"]["rtmr0"] = events_json(registers.events0);
  }
  out["rtmr1"] = hex(registers.rtmr1.view());
  out["rtmr2"] = hex(registers.rtmr2.view());
  out["events"]["rtmr1"] = events_json(registers.events1);
  out["events"]["rtmr2"] = events_json(registers.events2);
  out["memory_bytes"] = in.memory;
  out["cmdline"] = in.cmdline;
  return {};
}

}  // namespace

Result<Json> predict_boot(const BootInputs& in) {
  Inputs inputs;
  CAIRN_TRY(const auto firmware, inputs.read("firmware", in.firmware, predict::kMaxFirmware));
  predict::DirectBoot boot;
  CAIRN_TRY(boot.sections, predict::parse_firmware(firmware));
  boot.memory = in.memory;
  Json out;
  out["mrtd"]["single_pass"] = hex(predict::mrtd(firmware, boot.sections, predict::PageOrder::single_pass).view());
  out["mrtd"]["two_pass"] = hex(predict::mrtd(firmware, boot.sections, predict::PageOrder::two_pass).view());
  if (auto cfv = predict::configuration_volume_digest(firmware, boot.sections)) {
    boot.cfv = *cfv;
    out["cfv"] = hex(cfv->view());
  }
  if (!in.kernel.empty()) CAIRN_CHECK(predict_registers(in, std::move(boot), inputs, out));
  out["inputs"] = std::move(inputs).take();
  return out;
}

namespace {

struct Subject {
  eventlog::Kind kind;
  std::string name;
  Digest<48> digest;
};

Result<Digest<48>> subject_digest(Fields& f, const fs::path& folder) {
  const auto digest = f.optional<std::string>("sha384");
  const auto file = f.optional<std::string>("file");
  if (digest.has_value() == file.has_value())
    return fail(ErrorCode::invalid_argument, f.path(), "give either sha384 or file");
  if (file) return hash_file(folder / *file).transform([](const FileDigests& d) { return d.sha384; });
  return from_hex(*digest).and_then([](const Bytes& b) { return Digest<48>::from(b); });
}

Result<std::vector<Subject>> read_subjects(Fields& top, Problems& problems, const fs::path& folder) {
  std::vector<Subject> out;
  top.objects("subjects", [&](Fields& f) {
    const auto kind = eventlog::kind_named(f.required<std::string>("kind"));
    if (!kind) f.problem("kind", "not a kind of subject");
    Subject s{kind.value_or(eventlog::Kind::model), f.required<std::string>("name"), {}};
    if (auto digest = subject_digest(f, folder))
      s.digest = *digest;
    else
      problems.add(digest.error().where.empty() ? f.path() : digest.error().where, digest.error().message);
    f.done();
    out.push_back(std::move(s));
  });
  return out;
}

Json event_list(const std::vector<eventlog::AaelEvent>& events) {
  Json out = Json::array();
  for (const auto& e : events)
    out.push_back({{"domain", e.domain}, {"operation", e.operation}, {"content", e.content}});
  return out;
}

}  // namespace

Result<Json> predict_runtime(const Json& manifest, const fs::path& folder) {
  Problems problems;
  Fields f(manifest, "$", problems);
  const auto boot = f.required<std::string>("boot_id");
  const bool doubles = f.value_or("doubles", false);
  CAIRN_TRY(const auto subjects, read_subjects(f, problems, folder));
  f.done();
  CAIRN_CHECK(problems.result());

  std::vector<eventlog::AaelEvent> events;
  const auto keep = [&](const eventlog::AaelEvent& e) -> Result<void> {
    events.push_back(e);
    return {};
  };
  CAIRN_TRY(auto run, Measurer::begin(keep, boot, doubles));
  Json references = Json::object();
  for (const auto& s : subjects) {
    CAIRN_CHECK(run.subject(s.kind, s.name, s.digest));
    CAIRN_TRY(const auto clean, eventlog::measurement_name(s.name));
    const eventlog::Measurement m{s.kind, clean, s.digest};
    references[m.reference_key()] = Json::array({m.content()});
  }
  CAIRN_CHECK(run.ready());

  std::vector<Digest<48>> text{eventlog::text_line_digest(eventlog::init_line({}))}, tagged;
  for (const auto& e : events) {
    text.push_back(eventlog::text_line_digest(e.text()));
    tagged.push_back(eventlog::tagged_event_digest(e));
  }
  return Json{{"rtmr3", {{"text", hex(predict::replay(text).view())}, {"tcg2", hex(predict::replay(tagged).view())}}},
              {"events", event_list(events)},
              {"reference_values", std::move(references)}};
}

Result<Json> replay_log(ByteView bytes) {
  if (as_text(bytes).starts_with("INIT ")) {
    CAIRN_TRY(const auto log, eventlog::parse_text_log(as_text(bytes)));
    CAIRN_TRY(const auto end, eventlog::replay_text_log(log));
    return Json{{"form", "AAEL text"},
                {"algorithm", eventlog::name(log.algorithm)},
                {"initial", hex(log.initial)},
                {"register", hex(end)},
                {"events", event_list(log.events)}};
  }
  CAIRN_TRY(const auto log, eventlog::parse_ccel(bytes));
  Json out{{"form", "TCG2"}, {"end_offset", log.end_offset}, {"registers", Json::object()}};
  for (const auto bank : log.algorithms) {
    const auto replayed = eventlog::replay(log, bank);
    if (!replayed) continue;  // listed in the header, but without digests in the events
    for (std::size_t i = 0; i < 4; ++i)
      out["registers"][std::string(eventlog::name(bank))]["rtmr" + std::to_string(i)] = hex(replayed->mr[i]);
  }
  CAIRN_TRY(out["events"], eventlog::uefi_event_logs(log));
  for (std::size_t i = 0; i < log.events.size(); ++i)
    if (auto text = eventlog::authenticated_text(log.events[i]))
      out["events"][i]["authenticated_text"] = std::move(*text);
  return out;
}

Result<std::uint64_t> parse_memory(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, text.data() + text.size());
  const int shift = unit.empty() ? 0 : unit == "K" ? 10 : unit == "M" ? 20 : unit == "G" ? 30 : unit == "T" ? 40 : -1;
  if (error != std::errc{} || shift < 0 || value == 0 || value > (UINT64_MAX >> shift))
    return fail(ErrorCode::invalid_argument, "memory", "an amount of memory is a number with K, M, G or T, such as 4G");
  return value << shift;
}

}  // namespace cairn::cli
