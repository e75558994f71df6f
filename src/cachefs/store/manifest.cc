#include "cachefs/store/manifest.h"

#include "base/encoding.h"
#include "base/json.h"
#include "base/log.h"
#include "cachefs/store/limits.h"
#include "gocryptfs/limits.h"

namespace cairn::cachefs {
namespace {

constexpr std::string_view kSchema = "cairn.manifest/1";

std::unexpected<Error> bad(std::string where, std::string message) {
  return fail(ErrorCode::malformed, "manifest: " + std::move(where), std::move(message));
}

Result<ContentDigest> parse_digest(Fields& f) {
  const auto sha = f.optional<std::string>("sha384"), verity = f.optional<std::string>("verity");
  if (sha.has_value() == verity.has_value()) {
    f.problem("sha384", "exactly one of sha384 and verity is needed");
    return ContentDigest{};
  }
  ContentDigest out{sha ? DigestKind::sha384 : DigestKind::verity, {}};
  auto value = from_hex(sha ? *sha : *verity);
  if (!value || value->size() != (sha ? 48U : 32U))
    f.problem(sha ? "sha384" : "verity", "not a digest in hex");
  else
    out.value = std::move(*value);
  return out;
}

Json file_json(const ManifestFile& file) {
  Json out = {{"path", file.path}, {"size", file.size}};
  out[file.digest.kind == DigestKind::sha384 ? "sha384" : "verity"] = hex(file.digest.value);
  if (file.executable) out["x"] = true;
  return out;
}

Result<void> check_files(const std::vector<ManifestFile>& files) {
  const std::string* before = nullptr;
  for (const ManifestFile& file : files) {
    CAIRN_CHECK(check_manifest_path(file.path));
    if (!manifest_covers(file.path)) return bad(file.path, "a path that manifests leave out");
    if (file.size > gocryptfs::kFileSizeMax) return bad(file.path, "impossible size");
    if (before != nullptr && *before >= file.path) return bad(file.path, "not sorted, or twice");
    before = &file.path;
  }
  return {};
}

}  // namespace

bool manifest_covers(std::string_view path) {
  if (path == kManifestName) return false;
  for (std::string_view rest = path; !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, slash);
    const bool folder = slash < rest.size();
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    if (part.starts_with(".git") || (folder && part == ".cache") || (!folder && part.ends_with(".lock"))) return false;
  }
  return true;
}

Result<void> check_manifest_path(std::string_view path) {
  const std::string shown = printable(path);
  if (path.empty() || path.size() > kPathMax) return bad(shown, "empty or too long a path");
  if (!is_utf8(path))
    return bad(shown, "a file name is not UTF-8: manifests cannot hold it. Rename the file, or do without a manifest");
  if (path.find('\0') != std::string_view::npos) return bad(shown, "a zero byte in a path");
  for (std::string_view rest = path;;) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > gocryptfs::kNameMax)
      return bad(shown, "not a plain relative path");
    if (slash == rest.size()) return {};
    rest.remove_prefix(slash + 1);
  }
}

Result<std::string> write_manifest(const Manifest& manifest) {
  if (manifest.name.empty() || manifest.name.size() > kManifestNameMax || !is_utf8(manifest.name))
    return bad("name", "must have 1 to 128 bytes of UTF-8");
  CAIRN_CHECK(check_files(manifest.files));
  Json files = Json::array();
  for (const ManifestFile& file : manifest.files) files.push_back(file_json(file));
  return canonical_json(
      {{"schema", kSchema}, {"kind", manifest.kind}, {"name", manifest.name}, {"files", std::move(files)}});
}

Result<Manifest> parse_manifest(std::string_view text) {
  CAIRN_TRY(const Json json, parse_json(text, {.bytes = kManifestMax, .depth = 8}));
  Problems problems;
  Fields f(json, "$", problems);
  Manifest out;
  if (f.required<std::string>("schema") != kSchema) f.problem("schema", "must be " + std::string(kSchema));
  out.kind = f.required<std::string>("kind");
  out.name = f.required<std::string>("name");
  if (!f.has("files")) f.problem("files", "missing");
  f.objects("files", [&](Fields& item) {
    ManifestFile file;
    file.path = item.required<std::string>("path");
    file.size = item.required<std::uint64_t>("size");
    if (auto digest = parse_digest(item)) file.digest = std::move(*digest);
    file.executable = item.value_or("x", false);
    item.done();
    out.files.push_back(std::move(file));
  });
  f.done();
  CAIRN_CHECK(problems.result());
  CAIRN_TRY(const std::string canonical, write_manifest(out));
  if (canonical != text) return bad("text", "not in canonical form (RFC 8785)");
  return out;
}

Digest<48> manifest_digest(std::string_view text) { return crypto::sha384(as_bytes(text)); }
std::string measured_form(const Digest<48>& digest) { return "sha384:" + hex(digest.view()); }

}  // namespace cairn::cachefs
