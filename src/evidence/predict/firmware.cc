#include "evidence/predict/firmware.h"

#include <algorithm>
#include <optional>

#include "base/cursor.h"
#include "crypto/hash.h"

namespace cairn::predict {
namespace {

using Guid = std::array<std::uint8_t, 16>;
constexpr Guid kTableFooter = {0xde, 0x82, 0xb5, 0x96, 0xb2, 0x1f, 0xf7, 0x45,
                               0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d};
constexpr Guid kMetadataOffset = {0x35, 0x65, 0x7a, 0xe4, 0x4a, 0x98, 0x98, 0x47,
                                  0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2};
constexpr std::size_t kTableEnd = 32;   // bytes between the table and the end of the image
constexpr std::size_t kEntryTail = 18;  // u16 length, GUID
constexpr std::size_t kDescriptorHead = 16;
constexpr std::size_t kSectionSize = 32;
constexpr std::size_t kBlock = 128, kChunk = 256;

std::unexpected<Error> bad(std::string message) {
  return fail(ErrorCode::malformed, "TDX metadata", std::move(message));
}

// Entries lie one before another; each ends with its length and GUID, its data before them.
std::optional<std::uint32_t> offset_in_table(ByteView image) {
  const std::size_t end = image.size() - kTableEnd;
  if (end < kEntryTail || !std::ranges::equal(image.subspan(end - 16, 16), kTableFooter)) return std::nullopt;
  const auto total = Reader(image.subspan(end - kEntryTail)).u16le().value_or(0);
  if (total < kEntryTail || total > end) return std::nullopt;
  std::size_t at = end - kEntryTail;  // end of the next entry
  const std::size_t begin = end - total;
  while (at >= begin + kEntryTail) {
    const auto length = Reader(image.subspan(at - kEntryTail)).u16le().value_or(0);
    if (length < kEntryTail || length > at - begin) return std::nullopt;
    if (std::ranges::equal(image.subspan(at - 16, 16), kMetadataOffset) && length == kEntryTail + 4) {
      const auto offset = Reader(image.subspan(at - length)).u32le();
      return offset ? std::optional(*offset) : std::nullopt;
    }
    at -= length;
  }
  return std::nullopt;
}

Result<Section> read_section(Reader& in, std::size_t image_size) {
  const std::string place = in.place();
  Section s;
  CAIRN_TRY(s.data_offset, in.u32le());
  CAIRN_TRY(s.raw_size, in.u32le());
  CAIRN_TRY(s.address, in.u64le());
  CAIRN_TRY(s.memory_size, in.u64le());
  CAIRN_TRY(const auto type, in.u32le());
  CAIRN_TRY(const auto attributes, in.u32le());
  if (type > static_cast<std::uint32_t>(SectionType::td_params) || attributes > 3)
    return bad("a section of unknown type or attributes at " + place);
  s.type = static_cast<SectionType>(type);
  s.measured = (attributes & 1) != 0;
  s.added_later = (attributes & 2) != 0;
  if (s.address % kPage != 0 || s.memory_size % kPage != 0 || s.memory_size == 0 || s.end() < s.address)
    return bad("a section that is not made of whole pages at " + place);
  if (std::uint64_t{s.data_offset} + s.raw_size > image_size || s.raw_size > s.memory_size)
    return bad("a section whose data lies outside the image or its memory at " + place);
  return s;
}

// One 128-byte record of the measurement: an ASCII name padded to 16, then a guest-physical address.
void add_record(crypto::Hasher& hasher, std::string_view name, std::uint64_t address) {
  Writer record;
  record.text(name).zeros(16 - name.size()).u64le(address).zeros(kBlock - 24);
  hasher.update(record.view());
}

void add_page(crypto::Hasher& hasher, const Section& s, std::uint64_t offset) {
  if (!s.added_later) add_record(hasher, "MEM.PAGE.ADD", s.address + offset);
}

void extend_page(crypto::Hasher& hasher, ByteView image, const Section& s, std::uint64_t offset) {
  if (!s.measured) return;
  std::array<std::uint8_t, kPage> page{};
  if (offset < s.raw_size) {
    const auto n = std::min<std::uint64_t>(kPage, s.raw_size - offset);
    std::ranges::copy(image.subspan(s.data_offset + offset, n), page.begin());
  }
  for (std::size_t at = 0; at < kPage; at += kChunk) {
    add_record(hasher, "MR.EXTEND", s.address + offset + at);
    hasher.update(ByteView(page).subspan(at, kChunk));
  }
}

}  // namespace

Result<std::vector<Section>> parse_firmware(ByteView image) {
  if (image.size() > kMaxFirmware) return fail(ErrorCode::too_large, "the firmware image is larger than 64 MiB");
  if (image.size() < kTableEnd + kEntryTail) return bad("the image is too short for a firmware volume");
  auto distance = offset_in_table(image);
  if (!distance) distance = Reader(image.subspan(image.size() - kTableEnd)).u32le().value_or(0);
  if (*distance == 0 || *distance > image.size()) return bad("the image has no TDX metadata: it is not a TDVF");
  Reader in(image.subspan(image.size() - *distance), image.size() - *distance);
  CAIRN_TRY(const auto signature, in.text(4));
  CAIRN_TRY(const auto length, in.u32le());
  CAIRN_TRY(const auto version, in.u32le());
  CAIRN_TRY(const auto count, in.u32le());
  if (signature != "TDVF" || version != 1) return bad("the image has no TDX metadata of version 1: it is not a TDVF");
  if (count == 0 || count > kMaxSections || length != kDescriptorHead + kSectionSize * count)
    return bad("the descriptor's length does not fit its number of sections");
  std::vector<Section> out;
  std::uint64_t memory = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    CAIRN_TRY(const auto section, read_section(in, image.size()));
    if (section.memory_size > kMaxMeasuredMemory - memory) return bad("the sections together are larger than 1 GiB");
    memory += section.memory_size;
    out.push_back(section);
  }
  return out;
}

Digest<48> mrtd(ByteView image, const std::vector<Section>& sections, PageOrder order) {
  crypto::Hasher hasher(crypto::Hash::sha384);
  for (const auto& s : sections) {
    for (std::uint64_t at = 0; at < s.memory_size; at += kPage) {
      add_page(hasher, s, at);
      if (order == PageOrder::single_pass) extend_page(hasher, image, s, at);
    }
    for (std::uint64_t at = 0; order == PageOrder::two_pass && at < s.memory_size; at += kPage)
      extend_page(hasher, image, s, at);
  }
  Digest<48> out;
  std::ranges::copy(hasher.finish(), out.begin());
  return out;
}

Result<Digest<48>> configuration_volume_digest(ByteView image, const std::vector<Section>& sections) {
  const auto cfv = std::ranges::find(sections, SectionType::cfv, &Section::type);
  if (cfv == sections.end()) return fail(ErrorCode::not_found, "TDX metadata", "the image has no configuration volume");
  if (std::uint64_t{cfv->data_offset} + cfv->raw_size > image.size())
    return fail(ErrorCode::invalid_argument, "the sections are not of this image");
  return crypto::sha384(image.subspan(cfv->data_offset, cfv->raw_size));
}

}  // namespace cairn::predict
