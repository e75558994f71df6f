// ttrpc frames and the two protobuf messages they carry, by hand: eight fields in all.
#include <limits>

#include "base/cursor.h"
#include "net/ttrpc.h"

namespace cairn::net {

std::string_view name(RpcCode code) {
  switch (code) {
    case RpcCode::ok: return "OK";
    case RpcCode::cancelled: return "CANCELLED";
    case RpcCode::unknown: return "UNKNOWN";
    case RpcCode::invalid_argument: return "INVALID_ARGUMENT";
    case RpcCode::deadline_exceeded: return "DEADLINE_EXCEEDED";
    case RpcCode::not_found: return "NOT_FOUND";
    case RpcCode::already_exists: return "ALREADY_EXISTS";
    case RpcCode::permission_denied: return "PERMISSION_DENIED";
    case RpcCode::resource_exhausted: return "RESOURCE_EXHAUSTED";
    case RpcCode::failed_precondition: return "FAILED_PRECONDITION";
    case RpcCode::aborted: return "ABORTED";
    case RpcCode::out_of_range: return "OUT_OF_RANGE";
    case RpcCode::unimplemented: return "UNIMPLEMENTED";
    case RpcCode::internal: return "INTERNAL";
    case RpcCode::unavailable: return "UNAVAILABLE";
    case RpcCode::data_loss: return "DATA_LOSS";
    case RpcCode::unauthenticated: return "UNAUTHENTICATED";
  }
  return "UNKNOWN";
}

RpcStatus to_status(const Error& error) {
  const auto code = [&] {
    switch (error.code) {
      case ErrorCode::invalid_argument:
      case ErrorCode::malformed: return RpcCode::invalid_argument;
      case ErrorCode::too_large: return RpcCode::resource_exhausted;
      case ErrorCode::unsupported: return RpcCode::unimplemented;
      case ErrorCode::not_found: return RpcCode::not_found;
      case ErrorCode::already_exists: return RpcCode::already_exists;
      case ErrorCode::evidence_rejected:
      case ErrorCode::permission_denied: return RpcCode::permission_denied;
      case ErrorCode::unauthenticated: return RpcCode::unauthenticated;
      case ErrorCode::unavailable: return RpcCode::unavailable;
      case ErrorCode::timed_out: return RpcCode::deadline_exceeded;
      case ErrorCode::cancelled: return RpcCode::cancelled;
      case ErrorCode::conflict: return RpcCode::failed_precondition;
      case ErrorCode::crypto_failed:
      case ErrorCode::io_failed:
      case ErrorCode::internal: return RpcCode::internal;
    }
    return RpcCode::unknown;
  }();
  return {code, error.message};
}

Error to_error(const RpcStatus& status) {
  const auto code = [&] {
    switch (status.code) {
      case RpcCode::invalid_argument:
      case RpcCode::out_of_range: return ErrorCode::invalid_argument;
      case RpcCode::deadline_exceeded: return ErrorCode::timed_out;
      case RpcCode::not_found: return ErrorCode::not_found;
      case RpcCode::already_exists: return ErrorCode::already_exists;
      case RpcCode::permission_denied: return ErrorCode::permission_denied;
      case RpcCode::unauthenticated: return ErrorCode::unauthenticated;
      case RpcCode::resource_exhausted: return ErrorCode::too_large;
      case RpcCode::unimplemented: return ErrorCode::unsupported;
      case RpcCode::unavailable: return ErrorCode::unavailable;
      case RpcCode::cancelled: return ErrorCode::cancelled;
      case RpcCode::aborted:
      case RpcCode::failed_precondition: return ErrorCode::conflict;
      default: return ErrorCode::internal;
    }
  }();
  return {code, std::string(name(status.code)), status.message};
}

namespace ttrpc {

namespace {

enum Wire : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

Result<std::uint64_t> varint(Reader& in) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    CAIRN_TRY(const std::uint8_t byte, in.u8());
    if (shift == 63 && byte > 1) break;
    value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return fail(ErrorCode::malformed, in.place(), "a number is longer than 64 bits");
}

Result<ByteView> blob(Reader& in) {
  CAIRN_TRY(const std::uint64_t size, varint(in));
  if (size > in.remaining()) return fail(ErrorCode::malformed, in.place(), "a field is longer than the message");
  return in.bytes(static_cast<std::size_t>(size));
}

// Calls on_field(number, wire, in) for every field; it returns whether it took the value, else it is skipped.
template <class F>
Result<> fields(ByteView message, F&& on_field) {
  Reader in(message);
  while (!in.empty()) {
    CAIRN_TRY(const std::uint64_t key, varint(in));
    if (key >> 3 == 0 || key >> 3 > 0x1fffffff)
      return fail(ErrorCode::malformed, in.place(), "a field number is out of range");
    CAIRN_TRY(const bool taken, on_field(key >> 3, key & 7, in));
    if (taken) continue;
    switch (key & 7) {
      case kVarint: CAIRN_CHECK(varint(in)); break;
      case kFixed64: CAIRN_CHECK(in.skip(8)); break;
      case kBytes: CAIRN_CHECK(blob(in)); break;
      case kFixed32: CAIRN_CHECK(in.skip(4)); break;
      default: return fail(ErrorCode::malformed, in.place(), "an unknown wire type");
    }
  }
  return {};
}

Result<bool> take(Reader& in, std::string& out) {
  CAIRN_TRY(const ByteView bytes, blob(in));
  out = as_text(bytes);
  return true;
}
Result<bool> take(Reader& in, Bytes& out) {
  CAIRN_TRY(const ByteView bytes, blob(in));
  out = to_bytes(bytes);
  return true;
}

Result<> decode_pair(ByteView message, std::pair<std::string, std::string>& out) {
  return fields(message, [&](std::uint64_t field, std::uint64_t wire, Reader& in) -> Result<bool> {
    if (wire != kBytes || (field != 1 && field != 2)) return false;
    return take(in, field == 1 ? out.first : out.second);
  });
}

Result<> decode_status(ByteView message, RpcStatus& out) {
  return fields(message, [&](std::uint64_t field, std::uint64_t wire, Reader& in) -> Result<bool> {
    if (field == 2 && wire == kBytes) return take(in, out.message);
    if (field != 1 || wire != kVarint) return false;
    CAIRN_TRY(const std::uint64_t code, varint(in));
    out.code = code <= 16 ? static_cast<RpcCode>(code) : RpcCode::unknown;
    return true;
  });
}

void put_varint(Writer& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.u8(static_cast<std::uint8_t>(value | 0x80));
  out.u8(static_cast<std::uint8_t>(value));
}
void put(Writer& out, unsigned field, ByteView bytes) {
  if (bytes.empty()) return;
  put_varint(out, field << 3 | kBytes);
  put_varint(out, bytes.size());
  out.bytes(bytes);
}
void put(Writer& out, unsigned field, std::string_view text) { put(out, field, as_bytes(text)); }
void put(Writer& out, unsigned field, std::uint64_t value) {
  if (value == 0) return;
  put_varint(out, field << 3 | kVarint);
  put_varint(out, value);
}

}  // namespace

Bytes frame(std::uint32_t stream, FrameType type, std::uint8_t flags, ByteView data) {
  Writer out;
  out.u32be(static_cast<std::uint32_t>(data.size()))
      .u32be(stream)
      .u8(static_cast<std::uint8_t>(type))
      .u8(flags)
      .bytes(data);
  return std::move(out).take();
}

Result<FrameHeader> parse_header(ByteView ten_bytes) {
  Reader in(ten_bytes);
  FrameHeader header;
  CAIRN_TRY(header.length, in.u32be());
  CAIRN_TRY(header.stream, in.u32be());
  CAIRN_TRY(header.type, in.u8());
  CAIRN_TRY(header.flags, in.u8());
  CAIRN_CHECK(in.end());
  return header;
}

Bytes encode(const Request& request) {
  Writer out;
  put(out, 1, request.service);
  put(out, 2, request.method);
  put(out, 3, ByteView(request.payload));
  put(out, 4, static_cast<std::uint64_t>(request.timeout_nano));
  for (const auto& [key, value] : request.metadata) {
    Writer pair;
    put(pair, 1, key);
    put(pair, 2, value);
    put_varint(out, 5U << 3 | kBytes);
    put_varint(out, pair.size());
    out.bytes(pair.view());
  }
  return std::move(out).take();
}

Bytes encode(const Response& response) {
  Writer out;
  if (response.status.code != RpcCode::ok) {
    Writer status;
    put(status, 1, static_cast<std::uint64_t>(response.status.code));
    put(status, 2, response.status.message);
    put(out, 1, ByteView(status.view()));
  }
  put(out, 2, ByteView(response.payload));
  return std::move(out).take();
}

Result<Request> decode_request(ByteView data) {
  constexpr std::size_t kMetadata = 128;
  Request request;
  CAIRN_CHECK(fields(data, [&](std::uint64_t field, std::uint64_t wire, Reader& in) -> Result<bool> {
    if (field == 1 && wire == kBytes) return take(in, request.service);
    if (field == 2 && wire == kBytes) return take(in, request.method);
    if (field == 3 && wire == kBytes) return take(in, request.payload);
    if (field == 4 && wire == kVarint) {
      CAIRN_TRY(const std::uint64_t value, varint(in));
      request.timeout_nano = static_cast<std::int64_t>(value);
      return true;
    }
    if (field != 5 || wire != kBytes) return false;
    if (request.metadata.size() == kMetadata)
      return fail(ErrorCode::too_large, in.place(), "more than 128 metadata entries");
    CAIRN_TRY(const ByteView pair, blob(in));
    return decode_pair(pair, request.metadata.emplace_back()).transform([] { return true; });
  }));
  return request;
}

Result<Response> decode_response(ByteView data) {
  Response response;
  CAIRN_CHECK(fields(data, [&](std::uint64_t field, std::uint64_t wire, Reader& in) -> Result<bool> {
    if (field == 2 && wire == kBytes) return take(in, response.payload);
    if (field != 1 || wire != kBytes) return false;
    CAIRN_TRY(const ByteView status, blob(in));
    return decode_status(status, response.status).transform([] { return true; });
  }));
  return response;
}

}  // namespace ttrpc
}  // namespace cairn::net
