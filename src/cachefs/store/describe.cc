#include "cachefs/store/describe.h"

#include <map>

#include "base/cursor.h"
#include "base/json.h"
#include "base/log.h"
#include "cachefs/store/disk.h"
#include "cachefs/store/plain.h"

namespace cairn::cachefs {
namespace {

constexpr std::size_t kTextMax = 1U << 20;
constexpr std::uint64_t kPairsMax = 100'000;

// --- safetensors: u64 length of a JSON header, the header, the tensors ---

std::optional<std::string> describe_safetensors(ByteView beginning, std::uint64_t size) {
  Reader r(beginning);
  const auto length = r.u64le();
  if (!length || *length < 2 || *length > size - 8 || r.empty() || r.rest()[0] != '{') return std::nullopt;
  if (*length > r.remaining()) return "safetensors";  // a header longer than what is looked at
  const auto json = parse_json(as_text(r.rest().first(*length)), {.bytes = kDescribeBytes, .depth = 8});
  if (!json || !json->is_object()) return std::nullopt;
  std::uint64_t tensors = 0, parameters = 0;
  std::map<std::string, std::uint64_t> types;
  for (const auto& [name, tensor] : json->items()) {
    if (name == "__metadata__") continue;
    if (!tensor.is_object() || !tensor.contains("shape") || !tensor["shape"].is_array()) return std::nullopt;
    std::uint64_t count = 1;
    for (const Json& n : tensor["shape"]) {
      if (!n.is_number_unsigned() || __builtin_mul_overflow(count, n.get<std::uint64_t>(), &count)) return std::nullopt;
    }
    ++tensors;
    parameters += count;
    if (tensor.contains("dtype") && tensor["dtype"].is_string()) types[tensor["dtype"].get<std::string>()] += count;
  }
  const auto most = std::ranges::max_element(types, {}, [](const auto& t) { return t.second; });
  return "safetensors, " + std::to_string(tensors) + " tensors, " + std::to_string(parameters) + " parameters" +
         (most == types.end() ? "" : ", " + printable(most->first, 16));
}

// --- GGUF: magic, version, counts, then typed key-value pairs ---

enum GgufType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
  kGgufTypes
};
constexpr std::array<std::size_t, kGgufTypes> kGgufSizes{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

Result<std::string_view> gguf_string(Reader& r) {
  CAIRN_TRY(const std::uint64_t length, r.u64le());
  if (length > kTextMax) return fail(ErrorCode::too_large, "GGUF", "string");
  return r.text(length);
}

Result<void> skip_value(Reader& r, std::uint32_t type) {
  if (type == kString) return gguf_string(r).transform([](std::string_view) {});
  if (type < kGgufTypes && type != kArray) return r.skip(kGgufSizes[type]);
  if (type != kArray) return fail(ErrorCode::malformed, "GGUF", "type");
  CAIRN_TRY(const std::uint32_t element, r.u32le());
  CAIRN_TRY(const std::uint64_t count, r.u64le());
  if (element >= kGgufTypes || element == kArray) return fail(ErrorCode::unsupported, "GGUF", "array");
  if (element != kString)
    return count > r.remaining() ? fail(ErrorCode::malformed, "GGUF", "array") : r.skip(count * kGgufSizes[element]);
  for (std::uint64_t i = 0; i < count; ++i) CAIRN_CHECK(skip_value(r, kString));
  return {};
}

std::optional<std::string> describe_gguf(ByteView beginning) {
  Reader r(beginning);
  const auto magic = r.text(4);
  if (!magic || *magic != "GGUF") return std::nullopt;
  const auto version = r.u32le();
  const auto tensors = r.u64le(), pairs = r.u64le();
  if (!version || *version < 2 || *version > 99 || !tensors || !pairs || *pairs > kPairsMax) return std::nullopt;
  std::string architecture, name;
  for (std::uint64_t i = 0; i < *pairs; ++i) {
    const auto key = gguf_string(r);
    const auto type = key ? r.u32le() : Result<std::uint32_t>(std::unexpected(key.error()));
    if (!type) break;  // the rest lies beyond what is looked at
    const bool wanted = *type == kString && (*key == "general.architecture" || *key == "general.name");
    if (!wanted) {
      if (!skip_value(r, *type)) break;
      continue;
    }
    const auto value = gguf_string(r);
    if (!value) break;
    (*key == "general.name" ? name : architecture) = printable(*value, 64);
  }
  std::string out = "GGUF v" + std::to_string(*version);
  if (!architecture.empty()) out += ", " + architecture;
  out += ", " + std::to_string(*tensors) + " tensors";
  return name.empty() ? out : out + ", " + name;
}

}  // namespace

std::optional<std::string> describe_beginning(ByteView beginning, std::uint64_t size) {
  if (auto gguf = describe_gguf(beginning)) return gguf;
  return size < 10 ? std::nullopt : describe_safetensors(beginning, size);
}

std::vector<std::string> describe_plain(const std::filesystem::path& source) {
  std::vector<std::string> out;
  const auto plain = scan_plain(source);
  if (!plain) return out;
  for (const PlainEntry& entry : plain->entries) {
    if (entry.type != NodeType::file) continue;
    Bytes beginning(std::min<std::uint64_t>(entry.size, kDescribeBytes));
    const auto fd = open_plain(*plain, entry);
    if (!fd || !read_at(fd->get(), beginning, 0, entry.path)) continue;
    if (const auto what = describe_beginning(beginning, entry.size))
      out.push_back(printable(entry.path) + ": " + *what);
  }
  return out;
}

std::vector<std::string> describe_volume(const OpenVolume& volume) {
  std::vector<std::string> out;
  for (NodeId id = 1; id < volume.tree.size(); ++id) {
    const Node& node = volume.tree.at(id);
    if (node.type != NodeType::file) continue;
    Bytes beginning(std::min<std::uint64_t>(node.size, kDescribeBytes));
    const auto file = CipherFile::open(*volume.source, volume.tree, id, volume.volume);
    if (!file || !file->read(0, beginning, gocryptfs::Holes::allow)) continue;
    if (const auto what = describe_beginning(beginning, node.size))
      out.push_back(printable(volume.tree.path(id)) + ": " + *what);
  }
  return out;
}

}  // namespace cairn::cachefs
