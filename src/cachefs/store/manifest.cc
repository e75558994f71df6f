#include "cachefs/store/manifest.h"

#include "base/encoding.h"
#include "base/log.h"
#include "cachefs/store/limits.h"
#include "gocryptfs/limits.h"

namespace cairn::cachefs {
namespace {

std::unexpected<Error> bad_manifest(std::string_view where, std::string message) {
  return fail(ErrorCode::malformed, "manifest: " + printable(where), std::move(message));
}

Result<void> check_model(const Manifest& manifest) {
  if (manifest.name.size() > kManifestNameMax)
    return bad_manifest("name", "more than " + std::to_string(kManifestNameMax) + " bytes");
  for (const ManifestFile& file : manifest.files) {
    if (!manifest_covers(file.path)) return bad_manifest(file.path, "a path that manifests leave out");
    if (file.size > gocryptfs::kFileSizeMax) return bad_manifest(file.path, "impossible size");
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

ManifestFile manifest_file(std::string path, std::uint64_t size, const ContentDigest& digest, bool executable) {
  ManifestFile out{.path = std::move(path), .size = size, .sha384 = {}, .verity = {}, .executable = executable};
  if (digest.kind == DigestKind::sha384)
    out.sha384 = Digest<48>::from(digest.value).value();
  else
    out.verity = Digest<32>::from(digest.value).value();
  return out;
}
ContentDigest digest_of(const ManifestFile& file) {
  if (file.sha384) return {DigestKind::sha384, to_bytes(file.sha384->view())};
  return {DigestKind::verity, to_bytes(file.verity->view())};
}

Result<std::string> write_manifest(const Manifest& manifest) {
  CAIRN_CHECK(check_model(manifest));
  return eventlog::manifest_text(manifest);
}
Result<Manifest> parse_manifest(std::string_view text) {
  CAIRN_TRY(Manifest out, eventlog::parse_manifest(text));
  CAIRN_CHECK(check_model(out));
  return out;
}

Digest<48> manifest_digest(std::string_view text) { return eventlog::subject_digest(text); }
std::string measured_form(const Digest<48>& digest) { return "sha384:" + hex(digest.view()); }

}  // namespace cairn::cachefs
