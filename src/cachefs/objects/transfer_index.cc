#include "base/encoding.h"
#include "base/json.h"
#include "base/log.h"
#include "cachefs/objects/transfer.h"
#include "cachefs/store/limits.h"
#include "gocryptfs/limits.h"

namespace cairn::cachefs {
namespace {

constexpr std::string_view kIndexSchema = "cairn.objects/1";
constexpr std::uint64_t kPartStep = 1U << 20;

Result<void> check_indexed(const IndexedObject& o, const std::string* before) {
  const auto bad = [&](std::string message) {
    return fail(ErrorCode::malformed, "list of objects: " + printable(o.path), std::move(message));
  };
  if (o.path.empty() || o.path.size() > kStoreKeyMax || !is_utf8(o.path)) return bad("not a path");
  if (before != nullptr && *before >= o.path) return bad("not sorted, or twice");
  if (o.size > gocryptfs::kFileSizeMax || o.part_bytes != part_bytes_of(o.size)) return bad("impossible size");
  if (o.parts.size() != (o.size + o.part_bytes - 1) / o.part_bytes)
    return bad("the number of parts does not fit the size");
  return {};
}

}  // namespace

std::uint64_t part_bytes_of(std::uint64_t size) {
  const std::uint64_t least = (size + kStorePartsMax - 1) / kStorePartsMax;
  return std::max(kStorePartBytes, (least + kPartStep - 1) / kPartStep * kPartStep);
}

Result<std::string> write_object_index(const std::vector<IndexedObject>& objects) {
  Json list = Json::array();
  const std::string* before = nullptr;
  for (const IndexedObject& o : objects) {
    CAIRN_CHECK(check_indexed(o, before));
    before = &o.path;
    Json parts = Json::array();
    for (const auto& part : o.parts) parts.push_back(hex(part.view()));
    list.push_back({{"path", o.path}, {"size", o.size}, {"part_bytes", o.part_bytes}, {"parts", std::move(parts)}});
  }
  return canonical_json({{"schema", kIndexSchema}, {"objects", std::move(list)}});
}

Result<std::vector<IndexedObject>> parse_object_index(std::string_view text) {
  constexpr std::size_t kDepth = 5;
  CAIRN_TRY(const Json document, parse_json(text, {.bytes = kStoreIndexMax, .depth = kDepth}));
  Problems problems;
  Fields f(document, "$", problems);
  if (f.required<std::string>("schema") != kIndexSchema) f.problem("schema", "is not " + std::string(kIndexSchema));
  std::vector<IndexedObject> out;
  f.objects("objects", [&](Fields& each) {
    IndexedObject& o = out.emplace_back();
    o.path = each.required<std::string>("path");
    o.size = each.required<std::uint64_t>("size");
    o.part_bytes = each.required<std::uint64_t>("part_bytes");
    for (const std::string& part : each.required<std::vector<std::string>>("parts")) {
      const auto digest = from_hex(part).and_then([](const Bytes& b) { return Digest<32>::from(b); });
      if (!digest) return each.problem("parts", "not SHA-256 digests");
      o.parts.push_back(*digest);
    }
    each.done();
  });
  f.done();
  CAIRN_CHECK(problems.result());
  for (std::size_t i = 0; i < out.size(); ++i) CAIRN_CHECK(check_indexed(out[i], i == 0 ? nullptr : &out[i - 1].path));
  return out;
}

}  // namespace cairn::cachefs
