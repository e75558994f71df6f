// Manifests and configuration documents of cairn-measure/1: canonical JSON whose SHA-384 is measured.
#include <algorithm>

#include "base/encoding.h"
#include "base/json.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "evidence/eventlog/limits.h"
#include "evidence/eventlog/measure.h"

namespace cairn::eventlog {
namespace {

constexpr std::string_view kSchema = "cairn.manifest/1";

bool plain_text(std::string_view text) {
  return !text.empty() && is_utf8(text) &&
         std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

Result<Json> file_json(const ManifestFile& file) {
  CAIRN_CHECK(check_manifest_path(file.path));
  if (file.sha384.has_value() == file.verity.has_value())
    return fail(ErrorCode::invalid_argument, file.path, "a file has either a sha384 or a verity digest");
  Json out{{"path", file.path}, {"size", file.size}};
  if (file.sha384) out["sha384"] = hex(file.sha384->view());
  if (file.verity) out["verity"] = hex(file.verity->view());
  if (file.executable) out["x"] = true;
  return out;
}

template <std::size_t N>
std::optional<Digest<N>> hex_member(Fields& fields, std::string_view key) {
  const auto text = fields.optional<std::string>(key);
  if (!text) return std::nullopt;
  const auto digest = from_hex(*text).and_then([](const Bytes& b) { return Digest<N>::from(b); });
  if (!digest) {
    fields.problem(key, "not a digest of " + std::to_string(N) + " bytes in hex");
    return std::nullopt;
  }
  return *digest;
}

ManifestFile read_file_entry(Fields& f) {
  ManifestFile file;
  file.path = f.required<std::string>("path");
  file.size = f.required<std::uint64_t>("size");
  file.sha384 = hex_member<48>(f, "sha384");
  file.verity = hex_member<32>(f, "verity");
  file.executable = f.value_or("x", false);
  return file;
}

}  // namespace

Result<void> check_manifest_path(std::string_view path) {
  const auto bad = [&](std::string message) {
    return fail(ErrorCode::invalid_argument, "manifest: " + printable(path), std::move(message));
  };
  if (path.size() > limits::manifest_path) return bad("the path is too long");
  if (!is_utf8(path))
    return bad("a file name is not UTF-8: manifests cannot hold it. Rename the file, or do without a manifest");
  if (path.find('\0') != std::string_view::npos) return bad("a zero byte in a path");
  for (std::string_view rest = path;;) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > limits::manifest_name)
      return bad("not a plain relative path");
    if (slash == rest.size()) return {};
    rest.remove_prefix(slash + 1);
  }
}

Result<std::string> manifest_text(const Manifest& manifest) {
  if (!plain_text(manifest.kind) || !plain_text(manifest.name))
    return fail(ErrorCode::invalid_argument, "name", "a manifest needs a kind and a name");
  if (manifest.files.size() > limits::manifest_files)
    return fail(ErrorCode::too_large, "files",
                "a manifest may name " + std::to_string(limits::manifest_files) + " files");
  std::vector<const ManifestFile*> sorted;
  for (const auto& file : manifest.files) sorted.push_back(&file);
  std::ranges::sort(sorted, {}, [](const ManifestFile* f) { return std::string_view(f->path); });
  Json files = Json::array();
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    if (i > 0 && sorted[i]->path == sorted[i - 1]->path)
      return fail(ErrorCode::invalid_argument, sorted[i]->path, "the path is in the manifest twice");
    CAIRN_TRY(auto entry, file_json(*sorted[i]));
    files.push_back(std::move(entry));
  }
  return canonical_json(
      {{"schema", kSchema}, {"kind", manifest.kind}, {"name", manifest.name}, {"files", std::move(files)}});
}

Result<Manifest> parse_manifest(std::string_view text) {
  CAIRN_TRY(const auto json, parse_json(text, {.bytes = limits::manifest_bytes, .depth = 4}));
  Problems problems;
  Fields f(json, "$", problems);
  if (f.required<std::string>("schema") != kSchema) f.problem("schema", "not " + std::string(kSchema));
  Manifest out;
  out.kind = f.required<std::string>("kind");
  out.name = f.required<std::string>("name");
  f.objects("files", [&](Fields& entry) { out.files.push_back(read_file_entry(entry)); });
  f.done();
  CAIRN_CHECK(problems.result());
  CAIRN_TRY(const auto again, manifest_text(out));
  if (again != text) return fail(ErrorCode::malformed, "the manifest is not in canonical form");
  return out;
}

Digest<48> subject_digest(std::string_view text) { return crypto::sha384(as_bytes(text)); }

Result<std::string> config_text(const ConfigDocument& document) {
  Json out{{"argv", document.argv}};
  Json env = Json::object();
  for (const auto& [name, value] : document.environment)
    if (!env.emplace(name, value).second)
      return fail(ErrorCode::invalid_argument, name, "the environment variable is named twice");
  out["env"] = std::move(env);
  if (!document.read_only_mounts.empty()) out["mounts"] = document.read_only_mounts;
  if (!document.ports.empty()) out["ports"] = document.ports;
  if (document.tng_config) out["tng-config"] = "sha384:" + hex(document.tng_config->view());
  if (document.trustee_address) out["trustee-address"] = *document.trustee_address;
  if (document.tdx_ra_enable) out["tdx-ra-enable"] = *document.tdx_ra_enable;
  if (document.gpu_ra_enable) out["gpu-ra-enable"] = *document.gpu_ra_enable;
  if (document.model_decryption_key_id) out["model-decryption-key-id"] = *document.model_decryption_key_id;
  return canonical_json(out);
}

}  // namespace cairn::eventlog
