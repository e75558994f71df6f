#include "evidence/eventlog/claims.h"

#include <algorithm>

#include "base/cursor.h"
#include "base/encoding.h"
#include "evidence/eventlog/device_path.h"

namespace cairn::eventlog {
namespace {

Result<std::string> utf8(ByteView bytes, const Reader& at) {
  if (!is_utf8(as_text(bytes))) return fail(ErrorCode::malformed, at.place(), "the event's text is not UTF-8");
  return std::string(as_text(bytes));
}

Result<Json> whole_text(Reader in) {
  return utf8(in.rest(), in).transform([](std::string text) { return Json{{"string", std::move(text)}}; });
}

// A length byte that counts itself, then the name of the blob or table.
Result<Json> counted_text(Reader in) {
  const Reader start = in;
  CAIRN_TRY(const auto count, in.u8());
  if (count == 0) return fail(ErrorCode::malformed, start.place(), "a name of length zero that counts itself");
  CAIRN_TRY(const auto name, in.bytes(count - 1U));
  return utf8(name, start).transform([](std::string text) { return Json{{"string", std::move(text)}}; });
}

// Drops control characters (C0, DEL, C1) but turns U+0010 into a space.
Json flags_text(Reader in) {
  const std::string_view text = as_text(in.rest());
  std::string out;
  for (std::size_t i = 0; is_utf8(text) && i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 = c == 0xC2 && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c1)
      ++i;
    else if (c == 0x10)
      out.push_back(' ');
    else if (c >= 0x20 && c != 0x7F)
      out.push_back(text[i]);
  }
  return {{"string", out}};
}

Result<Json> ipl_text(Reader in) {
  const ByteView data = in.rest();
  if (data.size() < 2) return fail(ErrorCode::malformed, in.place(), "an EV_IPL event of fewer than two bytes");
  if (data[0] == 0x2E && data[1] == 0x00) {
    if (data.size() < 4 || data.size() % 2 != 0)
      return fail(ErrorCode::malformed, in.place(), "an EV_IPL event with a UTF-16 text of odd or no length");
    return from_utf16le(data.subspan(2, data.size() - 4)).transform([](std::string text) {
      return Json{{"string", std::move(text)}};
    });
  }
  std::string_view text = as_text(data);
  text = text.substr(0, text.find('\0'));
  return Json{{"string", is_utf8(text) ? std::string(text) : hex(data)}};
}

Result<Json> tag_details(Reader in) {
  CAIRN_TRY(const auto id, in.u32le());
  CAIRN_TRY(const auto size, in.u32le());
  CAIRN_TRY(const auto data, in.bytes(size));
  std::string text = lossy_utf8(data);
  std::erase(text, '\0');
  Json out;
  if (id == aael_tag) {
    auto event = split_event(text);
    if (!event) return fail(ErrorCode::malformed, in.place(), std::move(event.error().message));
    auto content = parse_json(event->content);
    out["unicode_name"] = "AAEL";
    out["data"] = {{"domain", std::move(event->domain)},
                   {"operation", std::move(event->operation)},
                   {"content", content ? std::move(*content) : Json(std::move(event->content))}};
  }
  out["string"] = std::move(text);
  return out;
}

Result<Json> variable_details(Reader in) {
  CAIRN_TRY(const auto guid, in.bytes(16));
  CAIRN_TRY(const auto name_length, in.u64le());
  CAIRN_TRY(const auto data_length, in.u64le());
  if (name_length > in.remaining() / 2)
    return fail(ErrorCode::malformed, in.place(), "the variable's name is longer than the event");
  CAIRN_TRY(const auto name_bytes, in.bytes(static_cast<std::size_t>(name_length) * 2));
  CAIRN_TRY(auto name, from_utf16le(name_bytes));
  if (data_length > in.remaining())
    return fail(ErrorCode::malformed, in.place(), "the variable's data is longer than the event");
  CAIRN_TRY(const auto data, in.bytes(static_cast<std::size_t>(data_length)));
  std::string raw = hex(guid);
  for (const std::size_t at : {8, 13, 18, 23}) raw.insert(at, 1, '-');
  return Json{{"variable_name", std::move(raw)},
              {"unicode_name", std::move(name)},
              {"unicode_name_length", name_length},
              {"variable_data", base64(data)},
              {"variable_data_length", data_length}};
}

// The device path nodes of a loaded image, without the end node.
Result<ByteView> image_path(ByteView data) {
  Reader in(data);
  CAIRN_CHECK(in.skip(24));
  CAIRN_TRY(const auto length, in.u64le());
  if (length == 0) return ByteView{};
  if (length < 4 || length > in.remaining())
    return fail(ErrorCode::malformed, in.place(),
                "the device path is shorter than its end node or longer than the event");
  return in.bytes(static_cast<std::size_t>(length) - 4);
}

Result<Json> image_details(ByteView data) {
  CAIRN_TRY(const auto nodes, image_path(data));
  if (nodes.empty()) return Json::object();
  CAIRN_TRY(auto texts, device_path_texts(nodes));
  return Json{{"device_paths", std::move(texts)}};
}

}  // namespace

Result<Json> event_details(const Event& event) {
  const Reader in(event.data);
  switch (event.type) {
    case type::post_code:
    case type::action:
    case type::compact_hash:
    case type::omit_boot_device_events:
    case type::efi_action: return whole_text(in);
    case type::efi_platform_firmware_blob2:
    case type::efi_handoff_tables2: return counted_text(in);
    case type::platform_config_flags: return flags_text(in);
    case type::ipl: return ipl_text(in);
    case type::event_tag: return tag_details(in);
    case type::efi_variable_driver_config:
    case type::efi_variable_boot:
    case type::efi_variable_boot2:
    case type::efi_variable_authority: return variable_details(in);
    case type::efi_boot_services_application: return image_details(event.data);
    default: return Json::object();
  }
}

Result<Json> uefi_event_logs(const Log& log, ClaimProfile profile) {
  Json out = Json::array();
  for (const auto& event : log.events) {
    const std::string place = "event at offset " + std::to_string(event.offset);
    const auto type = type_name(event.type);
    if (type.empty())
      return fail(ErrorCode::unsupported, place, "event type " + std::to_string(event.type) + " is not known");
    auto details = event_details(event);
    if (!details) return fail(std::move(details.error()).in(place));
    Json digests = Json::array();
    for (const auto& d : event.digests) digests.push_back({{"alg", name(d.algorithm)}, {"digest", hex(d.bytes)}});
    Json entry{{"details", std::move(*details)},
               {"digests", std::move(digests)},
               {"event", base64(event.data)},
               {"index", event.index},
               {"type_name", type}};
    if (profile == ClaimProfile::upstream) entry["digest_matches_event"] = digest_matches_event(event);
    out.push_back(std::move(entry));
  }
  return out;
}

namespace {

// Lower-cased printable ASCII of an image's device path, to look for the boot loader's name in.
std::string path_letters(ByteView data) {
  std::string out;
  const auto nodes = image_path(data);
  if (!nodes) return out;
  for (const auto b : *nodes)
    if (b >= 0x20 && b < 0x7F) out.push_back(b >= 'A' && b <= 'Z' ? static_cast<char>(b + 32) : static_cast<char>(b));
  return out;
}

void image_claims(const Event& event, const std::string& alg, const std::string& digest, Json& out) {
  const std::string path = path_letters(event.data);
  for (const std::string what : {"shim", "grub"})
    if (path.contains(what)) out["measurement." + what + "." + alg] = digest;
}

void text_claims(const Event& event, const std::string& alg, const std::string& digest, Json& out) {
  std::string text(as_text(event.data).substr(0, as_text(event.data).find('\0')));
  if (!is_utf8(text)) text = hex(event.data);
  const auto starts = [&](std::string_view prefix) { return text.starts_with(prefix); };
  if (text.contains("Kernel") || starts("/boot/vmlinuz")) out["measurement.kernel." + alg] = digest;
  if (text.contains("Initrd") || starts("/boot/initramfs")) out["measurement.initrd." + alg] = digest;
  if (starts("grub_cmd linux") || starts("kernel_cmdline") || starts("grub_kernel_cmdline")) {
    out["measurement.kernel_cmdline." + alg] = digest;
    out["kernel_cmdline"] = std::move(text);
  }
}

}  // namespace

Json ccel_claims(const Log& log) {
  Json out = Json::object();
  for (const auto& event : log.events) {
    if (event.digests.empty()) continue;
    std::string alg(name(event.digests[0].algorithm));
    std::erase(alg, '-');
    const std::string digest = hex(event.digests[0].bytes);
    if (event.type == type::efi_boot_services_application)
      image_claims(event, alg, digest, out);
    else
      text_claims(event, alg, digest, out);
  }
  return out;
}

Json aael_claims(std::span<const AaelEvent> events) {
  Json out = Json::object();
  for (const auto& event : events) {
    out["aael"][event.domain + "/" + event.operation].push_back(event.content);
    out["AA.eventlog." + event.domain + "." + event.operation] = event.content;
  }
  return out;
}

}  // namespace cairn::eventlog
