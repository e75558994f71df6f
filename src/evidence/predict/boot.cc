#include "evidence/predict/boot.h"

#include <algorithm>

#include "base/cursor.h"
#include "base/encoding.h"

namespace cairn::predict {
namespace {

constexpr std::uint64_t kLowMemoryLimit = 0xB0000000;  // more RAM than this is split
constexpr std::uint64_t kLowMemoryEnd = 0x80000000;
constexpr std::uint64_t kHighMemory = 0x100000000;
constexpr std::uint64_t kAcpiReserve = 0x28000;
constexpr std::uint32_t kAccepted = 0, kUnaccepted = 7, kResourceAttributes = 7;
constexpr std::array<std::uint8_t, 16> kGlobalVariable = {0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11,
                                                          0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c};
constexpr std::array<std::uint8_t, 16> kImageSecurity = {0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45,
                                                         0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f};
// OVMF's own boot option, its UiApp: attributes, path length, "UiApp", file-volume path.
constexpr std::string_view kBoot0000 =
    "090100002c0055006900410070007000000004071400c9bdb87cebf8344faaea3ee4af6516a10406140021aa2c46147603"
    "45836e8ab6f46623317fff0400";

std::unexpected<Error> bad(std::string_view where, std::string message) {
  return fail(ErrorCode::malformed, std::string(where), std::move(message));
}

// --- hand-off blocks ---

struct Resource {
  std::uint32_t type;
  std::uint64_t start, length;
};

Result<std::vector<Resource>> memory_map(const std::vector<Section>& sections, std::uint64_t memory) {
  std::vector<Section> cuts;
  for (const auto& s : sections)
    if (s.type == SectionType::td_hob || s.type == SectionType::temp_mem) cuts.push_back(s);
  std::ranges::sort(cuts, {}, &Section::address);
  std::vector<Resource> out;
  std::uint64_t at = 0;
  for (const auto& s : cuts) {
    if (s.address < at || s.end() > std::min(memory, kLowMemoryEnd))
      return bad("TDX metadata", "sections that overlap or lie outside the machine's memory");
    if (s.address > at) out.push_back({kUnaccepted, at, s.address - at});
    out.push_back({kAccepted, s.address, s.memory_size});
    at = s.end();
  }
  if (memory >= kLowMemoryLimit) {
    out.push_back({kUnaccepted, at, kLowMemoryEnd - at});
    out.push_back({kUnaccepted, kHighMemory, memory - kLowMemoryEnd});
  } else if (memory > at) {
    out.push_back({kUnaccepted, at, memory - at});
  }
  return out;
}

// --- PE ---

struct PeLayout {
  std::size_t checksum = 0, certificate_entry = 0, headers = 0;
  std::uint32_t certificate_size = 0;
  struct Part {
    std::uint32_t offset, size;
  };
  std::vector<Part> sections;  // in file order
};

Result<void> read_sections(Reader in, std::uint16_t count, std::size_t image_size, PeLayout& out) {
  std::uint64_t total = 0;  // overlapping sections would make hashing costlier than the image is long
  for (std::uint16_t i = 0; i < count; ++i) {
    CAIRN_CHECK(in.skip(16));
    CAIRN_TRY(const auto size, in.u32le());
    CAIRN_TRY(const auto offset, in.u32le());
    CAIRN_CHECK(in.skip(16));
    if (size == 0) continue;
    total += size;
    if (std::uint64_t{offset} + size > image_size || total > image_size)
      return bad(in.place(), "a section lies outside the PE image, or over others");
    out.sections.push_back({offset, size});
  }
  std::ranges::sort(out.sections, {}, &PeLayout::Part::offset);
  return {};
}

Result<PeLayout> pe_layout(ByteView image) {
  PeLayout out;
  Reader dos(image);
  CAIRN_TRY(const auto mz, dos.text(2));
  CAIRN_CHECK(dos.skip(0x3A));
  CAIRN_TRY(const auto pe, dos.u32le());
  if (mz != "MZ" || pe > image.size()) return bad("offset 0", "not a PE image");
  Reader in(image.subspan(pe), pe);
  CAIRN_TRY(const auto signature, in.u32le());
  if (signature != 0x4550) return bad(in.place(), "not a PE image");
  CAIRN_CHECK(in.skip(2));
  CAIRN_TRY(const auto sections, in.u16le());
  CAIRN_CHECK(in.skip(12));
  CAIRN_TRY(const auto optional_size, in.u16le());
  CAIRN_CHECK(in.skip(2));
  const std::size_t optional = in.offset();
  CAIRN_TRY(auto header, in.sub(optional_size));
  CAIRN_TRY(const auto magic, header.u16le());
  if (magic != 0x20B || optional_size < 152) return bad(in.place(), "not a PE32+ image with a certificate entry");
  CAIRN_CHECK(header.skip(58));
  CAIRN_TRY(const auto headers, header.u32le());
  CAIRN_CHECK(header.skip(80));
  CAIRN_TRY(const auto certificate_offset, header.u32le());
  CAIRN_TRY(out.certificate_size, header.u32le());
  out.checksum = optional + 64;
  out.certificate_entry = optional + 144;
  out.headers = headers;
  if (headers < out.certificate_entry + 8 || headers > image.size())
    return bad(in.place(), "SizeOfHeaders does not fit");
  if (std::uint64_t{certificate_offset} + out.certificate_size > image.size())
    return bad(in.place(), "the certificate table lies outside the image");
  CAIRN_CHECK(read_sections(in, sections, image.size(), out));
  return out;
}

// --- bzImage ---

void put32(Bytes& out, std::size_t at, std::uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) out[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
}
std::uint32_t get(ByteView in, std::size_t at, std::size_t size) {
  std::uint32_t out = 0;
  for (std::size_t i = size; i > 0; --i) out = out << 8 | in[at + i - 1];
  return out;
}

std::uint64_t initrd_address(ByteView kernel, std::uint32_t protocol, std::uint64_t size, std::uint64_t memory) {
  std::uint64_t max = protocol >= 0x203 ? get(kernel, 0x22C, 4) : 0;
  if (max == 0) max = 0x37FFFFFF;
  if (protocol >= 0x20C && (get(kernel, 0x236, 2) & 0x40) != 0) max = 0xFFFFFFFF;
  const std::uint64_t available = (memory >= kLowMemoryLimit ? kLowMemoryEnd : memory) - kAcpiReserve;
  if (max >= available) max = available - 1;
  return size > max ? 0 : (max - size) & ~(kPage - 1);
}

}  // namespace

Digest<48> replay(const std::vector<Digest<48>>& digests) {
  Digest<48> state{};
  for (const auto& digest : digests) {
    Bytes both = to_bytes(state.view());
    append(both, digest.view());
    state = crypto::sha384(both);
  }
  return state;
}

Result<Bytes> td_hob(const std::vector<Section>& sections, std::uint64_t memory) {
  const auto hob = std::ranges::find(sections, SectionType::td_hob, &Section::type);
  if (hob == sections.end()) return bad("TDX metadata", "the image has no TD_HOB section");
  CAIRN_TRY(const auto map, memory_map(sections, memory));
  const std::uint64_t length = 56 + 48 * map.size();
  Writer out;
  out.u16le(1).u16le(56).u32le(0).u32le(9).u32le(0).zeros(32).u64le(hob->address + length + 8);
  for (const auto& r : map)
    out.u16le(3).u16le(48).u32le(0).zeros(16).u32le(r.type).u32le(kResourceAttributes).u64le(r.start).u64le(r.length);
  return std::move(out).take();
}

Digest<48> variable_digest(ByteView guid, std::string_view name, ByteView data) {
  Writer out;
  out.bytes(guid).u64le(name.size()).u64le(data.size());
  for (const char c : name) out.u8(static_cast<std::uint8_t>(c)).u8(0);
  return crypto::sha384(out.bytes(data).view());
}

Result<Bytes> authenticode(ByteView image, crypto::Hash hash) {
  if (image.size() > kMaxKernel) return fail(ErrorCode::too_large, "the image is larger than 256 MiB");
  CAIRN_TRY(const auto pe, pe_layout(image));
  crypto::Hasher hasher(hash);
  const auto feed = [&](std::size_t from, std::size_t to) { hasher.update(image.subspan(from, to - from)); };
  feed(0, pe.checksum);
  feed(pe.checksum + 4, pe.certificate_entry);
  feed(pe.certificate_entry + 8, pe.headers);
  std::uint64_t hashed = pe.headers;
  for (const auto& part : pe.sections) {
    feed(part.offset, std::size_t{part.offset} + part.size);
    hashed += part.size;
  }
  // What follows the sections counts, but for the certificates at the very end.
  const std::uint64_t end = image.size() - pe.certificate_size;
  if (hashed < end) feed(static_cast<std::size_t>(hashed), static_cast<std::size_t>(end));
  hasher.update(Bytes((8 - image.size() % 8) % 8));
  return hasher.finish();
}

Result<Bytes> patched_kernel(ByteView bzimage, std::uint64_t initrd_size, std::uint64_t memory) {
  if (bzimage.size() > kMaxKernel) return fail(ErrorCode::too_large, "the kernel is larger than 256 MiB");
  if (bzimage.size() < 0x260 || as_text(bzimage.subspan(0x202, 4)) != "HdrS")
    return bad("offset 514", "not a Linux bzImage");
  if (memory < 2 * kAcpiReserve || initrd_size > UINT32_MAX)
    return fail(ErrorCode::invalid_argument, "memory", "too little memory, or an initrd of more than 4 GiB");
  const std::uint32_t protocol = get(bzimage, 0x206, 2);
  if (protocol < 0x202 || (bzimage[0x211] & 1) == 0)
    return fail(ErrorCode::unsupported, "offset 518", "boot protocol before 2.02, or a kernel that loads low");
  Bytes out = to_bytes(bzimage);
  out[0x210] = 0xB0;
  out[0x211] |= 0x80;
  put32(out, 0x224, 0xFE00);
  put32(out, 0x228, 0x20000);
  if (initrd_size != 0) {
    const auto address = initrd_address(bzimage, protocol, initrd_size, memory);
    if (address == 0) return fail(ErrorCode::invalid_argument, "memory", "the initrd does not fit into the memory");
    put32(out, 0x218, static_cast<std::uint32_t>(address));
    put32(out, 0x21C, static_cast<std::uint32_t>(initrd_size));
  }
  return out;
}

Result<Digest<48>> command_line_digest(std::string_view text, bool initrd) {
  CAIRN_TRY(auto wide, to_utf16le(std::string(text) + (initrd ? " initrd=initrd" : "")));
  wide.insert(wide.end(), 2, 0);
  return crypto::sha384(wide);
}

namespace {

Digest<48> of(std::string_view text) { return crypto::sha384(as_bytes(text)); }
Digest<48> separator() { return of(std::string_view("\0\0\0\0", 4)); }

Result<std::vector<Event>> firmware_events(const DirectBoot& boot) {
  CAIRN_TRY(const auto hob, td_hob(boot.sections, boot.memory));
  CAIRN_TRY(const auto option, from_hex(kBoot0000));
  return std::vector<Event>{{"td_hob", crypto::sha384(hob)},
                            {"cfv", boot.cfv},
                            {"SecureBoot", variable_digest(kGlobalVariable, "SecureBoot")},
                            {"PK", variable_digest(kGlobalVariable, "PK")},
                            {"KEK", variable_digest(kGlobalVariable, "KEK")},
                            {"db", variable_digest(kImageSecurity, "db")},
                            {"dbx", variable_digest(kImageSecurity, "dbx")},
                            {"separator", separator()},
                            {"acpi-loader", boot.acpi->loader},
                            {"acpi-rsdp", boot.acpi->rsdp},
                            {"acpi-tables", boot.acpi->tables},
                            {"BootOrder", crypto::sha384(Bytes{0, 0})},
                            {"Boot0000", crypto::sha384(option)}};
}

Digest<48> replay_events(const std::vector<Event>& events) {
  std::vector<Digest<48>> digests;
  for (const auto& e : events) digests.push_back(e.digest);
  return replay(digests);
}

}  // namespace

Result<Registers> direct_boot(const DirectBoot& boot) {
  Registers out;
  if (boot.acpi) {
    CAIRN_TRY(out.events0, firmware_events(boot));
    out.rtmr0 = replay_events(out.events0);
  }
  out.events1 = {{"kernel", boot.kernel},
                 {"boot action", of("Calling EFI Application from Boot Option")},
                 {"separator", separator()},
                 {"exit invocation", of("Exit Boot Services Invocation")},
                 {"exit success", of("Exit Boot Services Returned with Success")}};
  out.events2 = {{"command line", boot.command_line}};
  if (boot.initrd) out.events2.push_back({"initrd", *boot.initrd});
  out.rtmr1 = replay_events(out.events1);
  out.rtmr2 = replay_events(out.events2);
  return out;
}

}  // namespace cairn::predict
