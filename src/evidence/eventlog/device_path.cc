#include "evidence/eventlog/device_path.h"

#include <cctype>
#include <charconv>

#include "base/cursor.h"
#include "base/encoding.h"

namespace cairn::eventlog {
namespace {

std::string upper_hex(ByteView bytes) {
  std::string out = hex(bytes);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

std::string hex_number(std::uint64_t value) {
  char text[16];
  const auto end = std::to_chars(text, text + sizeof text, value, 16).ptr;
  return "0x" + std::string(text, end);
}

std::string number(std::uint64_t value) { return std::to_string(value); }

// Mixed-endian text form of a GUID.
std::string guid(ByteView raw) {
  Bytes swapped;
  for (const std::size_t i : {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15}) swapped.push_back(raw[i]);
  std::string out = upper_hex(swapped);
  for (const std::size_t at : {8, 13, 18, 23}) out.insert(at, 1, '-');
  return out;
}

Result<std::string> pci(Reader in) {
  CAIRN_TRY(const auto function, in.u8());
  CAIRN_TRY(const auto device, in.u8());
  CAIRN_CHECK(in.end());
  return "Pci(" + number(function) + "," + number(device) + ")";
}

Result<std::string> acpi(Reader in) {
  CAIRN_TRY(const auto hid, in.u32le());
  CAIRN_TRY(const auto uid, in.u32le());
  CAIRN_CHECK(in.end());
  std::string id;
  for (const unsigned shift : {10U, 5U, 0U}) id.push_back(static_cast<char>('@' + (hid >> shift & 0x1F)));
  const auto product = static_cast<std::uint16_t>(hid >> 16);
  return "ACPI(" + id + upper_hex(Writer().u16be(product).view()) + "," + number(uid) + ")";
}

Result<std::string> usb(Reader in) {
  CAIRN_TRY(const auto port, in.u8());
  CAIRN_TRY(const auto interface, in.u8());
  CAIRN_CHECK(in.end());
  return "USB(" + number(port) + "," + number(interface) + ")";
}

Result<std::string> mac(Reader in) {
  CAIRN_TRY(auto address, in.bytes(32));
  CAIRN_TRY(const auto type, in.u8());
  CAIRN_CHECK(in.end());
  while (!address.empty() && address.back() == 0) address = address.first(address.size() - 1);
  return "Mac(" + upper_hex(address) + ",0x" + hex(Bytes{type}) + ")";
}

Result<std::string> ipv4_text(Reader& in) {
  CAIRN_TRY(const auto a, in.bytes(4));
  return number(a[0]) + "." + number(a[1]) + "." + number(a[2]) + "." + number(a[3]);
}

Result<std::string> ipv4(Reader in) {
  CAIRN_TRY(const auto local, ipv4_text(in));
  CAIRN_TRY(const auto remote, ipv4_text(in));
  CAIRN_CHECK(in.skip(4));  // local and remote port
  CAIRN_TRY(const auto protocol, in.u16le());
  CAIRN_TRY(const auto fixed, in.u8());
  std::string out = "IPv4(" + remote + "," +
                    (protocol == 6    ? "TCP"
                     : protocol == 17 ? "UDP"
                                      : "") +
                    "," + (fixed != 0 ? "Static" : "DHCP") + "," + local;
  if (!in.empty()) {
    CAIRN_TRY(const auto gateway, ipv4_text(in));
    CAIRN_TRY(const auto mask, ipv4_text(in));
    CAIRN_CHECK(in.end());
    out += "," + gateway + "," + mask;
  }
  return out + ")";
}

Result<std::string> fibre(Reader in) {
  CAIRN_CHECK(in.skip(4));
  CAIRN_TRY(const auto wwn, in.u64be());
  CAIRN_TRY(const auto lun, in.u64be());
  CAIRN_CHECK(in.end());
  return "FibreEx(" + hex_number(wwn) + "," + hex_number(lun) + ")";
}

Result<std::string> hard_drive(Reader in) {
  CAIRN_TRY(const auto partition, in.u32le());
  CAIRN_TRY(const auto start, in.u64le());
  CAIRN_TRY(const auto size, in.u64le());
  CAIRN_TRY(const auto signature, in.bytes(16));
  CAIRN_TRY(const auto format, in.u8());
  CAIRN_TRY(const auto signature_type, in.u8());
  CAIRN_CHECK(in.end());
  std::string out = "HD(" + number(partition) + ",";
  if (format == 1 && signature_type == 1) {
    CAIRN_TRY(const auto disk, Reader(signature).u32le());
    out += "MBR," + hex_number(disk);
  } else if (format == 2 && signature_type == 2) {
    out += "GPT," + guid(signature);
  } else {
    return fail(ErrorCode::malformed, "unknown partition signature");
  }
  if (partition != 0) out += "," + hex_number(start) + "," + hex_number(size);
  return out + ")";
}

Result<std::string> vendor_media(Reader in) {
  CAIRN_TRY(const auto id, in.bytes(16));
  return "VenMedia(" + guid(id) + "," + upper_hex(in.rest()) + ")";
}

Result<std::string> file(Reader in) {
  if (in.remaining() < 2) return fail(ErrorCode::malformed, "a file path without terminator");
  CAIRN_TRY(const auto text, in.bytes(in.remaining() - 2));
  return from_utf16le(text).transform([](const std::string& path) { return "File(" + path + ")"; });
}

Result<std::string> bbs(Reader in) {
  CAIRN_TRY(const auto type, in.u16le());
  CAIRN_TRY(const auto flag, in.u16le());
  std::string_view text = as_text(in.rest());
  text = text.substr(0, text.find('\0'));
  if (!is_utf8(text)) return fail(ErrorCode::malformed, "a description that is not text");
  return "BBS(" + number(type) + "," + std::string(text) + "," + number(flag) + ")";
}

Result<std::string> known_node(std::uint8_t type, std::uint8_t subtype, Reader in) {
  switch (type << 8 | subtype) {
    case 0x0101: return pci(in);
    case 0x0201: return acpi(in);
    case 0x0305: return usb(in);
    case 0x030B: return mac(in);
    case 0x030C: return ipv4(in);
    case 0x0315: return fibre(in);
    case 0x0401: return hard_drive(in);
    case 0x0403: return vendor_media(in);
    case 0x0404: return file(in);
    case 0x0501: return bbs(in);
    default: return fail(ErrorCode::unsupported, "no text form");
  }
}

}  // namespace

Result<std::vector<std::string>> device_path_texts(ByteView nodes) {
  std::vector<std::string> out;
  Reader in(nodes);
  while (!in.empty()) {
    const std::string place = in.place();
    CAIRN_TRY(const auto type, in.u8());
    CAIRN_TRY(const auto subtype, in.u8());
    CAIRN_TRY(const auto length, in.u16le());
    if (length < 4) return fail(ErrorCode::malformed, place, "a device path node shorter than its header");
    CAIRN_TRY(const auto body, in.bytes(length - 4U));
    auto text = known_node(type, subtype, Reader(body));
    out.push_back(text ? std::move(*text) : "Path(" + number(type) + "," + number(subtype) + "," + hex(body) + ")");
  }
  return out;
}

}  // namespace cairn::eventlog
