// HTTP/1.1 on the wire: heads parsed and written, bodies framed. Internal to the area; the server, the client and the
// fuzzers use it. Stricter than RFC 9112 asks: CRLF only, no folded lines, one Content-Length, chunked the only coding.
#pragma once

#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "net/http.h"
#include "net/stream.h"

namespace cairn::net::http1 {

// Why a request is not served: the status to answer with before the connection is closed.
struct Refusal {
  int status;
  std::string reason;
};

enum class Framing { none, sized, chunked, until_close };

struct Request {
  RequestHead head;
  Framing framing = Framing::none;
  std::uint64_t length = 0;
  bool keep_alive = true;
  bool expects_continue = false;
};
struct ResponseMessage {
  ResponseHead head;
  Framing framing = Framing::none;
  std::uint64_t length = 0;
  bool keep_alive = true;
};

// `head`: everything up to and with the empty line.
[[nodiscard]] std::expected<Request, Refusal> parse_request(std::string_view head);
// `method`: of the request this answers; HEAD and 2xx to CONNECT have no body whatever the fields say.
[[nodiscard]] Result<ResponseMessage> parse_response(std::string_view head, std::string_view method);

// Looks for the end of a head in bytes that come piece by piece.
class HeadScanner {
 public:
  // Size of the head with its empty line, or 0: more is needed. malformed at the first bare LF or CR.
  [[nodiscard]] Result<std::size_t> scan(std::string_view so_far);

 private:
  std::size_t line_ = 0, at_ = 0;
};

// A head on the wire. invalid_argument if a name or value could break out of its line.
[[nodiscard]] Result<std::string> format_request(const RequestHead& head, const Headers& extra);
[[nodiscard]] Result<std::string> format_response(const ResponseHead& head, const Headers& extra);
[[nodiscard]] Result<std::string> format_trailers(const Headers& trailers);  // with the empty line

// The receiving half of a connection: heads, then bodies, then heads again.
class Input {
 public:
  explicit Input(Stream& stream) : stream_(&stream) {}

  // Waits until a byte is there; false: the peer ended.
  [[nodiscard]] Task<bool> wait();
  // The next head, valid until the next call of anything here. malformed; too_large past `limit`; unavailable when
  // the peer ends inside it.
  [[nodiscard]] Task<std::string_view> head(std::size_t limit);

  void begin_body(Framing framing, std::uint64_t length);
  [[nodiscard]] Task<std::size_t> read_some(std::span<std::uint8_t> into);  // 0: complete
  [[nodiscard]] bool complete() const { return complete_; }
  [[nodiscard]] const Headers& trailers() const { return trailers_; }

  // Reads ahead, once, into the buffer: true when bytes came, false when the peer ended or the buffer is full.
  [[nodiscard]] Task<bool> peek();
  [[nodiscard]] ByteView buffered() const { return ByteView(buffer_).subspan(at_, end_ - at_); }
  [[nodiscard]] Bytes take_buffered();
  // Bytes read elsewhere that come first.
  void prepend(ByteView bytes);

 private:
  [[nodiscard]] Task<bool> fill();                               // more bytes into the buffer; false: end
  [[nodiscard]] Task<std::string_view> line(std::size_t limit);  // without its CRLF
  [[nodiscard]] Task<> next_chunk();
  [[nodiscard]] Task<> read_trailers();
  [[nodiscard]] Task<std::size_t> read_plain(std::span<std::uint8_t> into);

  Stream* stream_;
  Bytes buffer_;
  std::size_t at_ = 0, end_ = 0;
  Framing framing_ = Framing::none;
  std::uint64_t left_ = 0;  // of the body or the chunk
  bool complete_ = true, in_chunk_ = false;
  Headers trailers_;
};

}  // namespace cairn::net::http1
