// ttrpc (containerd's small RPC over unix sockets), unary calls: spec/guest.md §8. Payloads are bytes; the caller's
// protobuf messages are none of our business.
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/stream.h"

namespace cairn::net {

// gRPC's numbers.
enum class RpcCode : std::int32_t {
  ok = 0,
  cancelled = 1,
  unknown = 2,
  invalid_argument = 3,
  deadline_exceeded = 4,
  not_found = 5,
  already_exists = 6,
  permission_denied = 7,
  resource_exhausted = 8,
  failed_precondition = 9,
  aborted = 10,
  out_of_range = 11,
  unimplemented = 12,
  internal = 13,
  unavailable = 14,
  data_loss = 15,
  unauthenticated = 16
};
[[nodiscard]] std::string_view name(RpcCode code);  // "INVALID_ARGUMENT"

struct RpcStatus {
  RpcCode code = RpcCode::ok;
  std::string message;
};
// The status that carries an error to a caller: its message, its code by kind (malformed -> INVALID_ARGUMENT, ...).
[[nodiscard]] RpcStatus to_status(const Error& error);
// And back, for clients: `where` is the code's name.
[[nodiscard]] Error to_error(const RpcStatus& status);

using RpcReply = std::expected<Bytes, RpcStatus>;

struct TtrpcCall {
  std::string service, method;
  Bytes payload;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::optional<Milliseconds> timeout;  // left when the request arrived
  std::optional<PeerCredentials> peer;  // SO_PEERCRED of the connection
};
using TtrpcMethod = std::function<asio::awaitable<RpcReply>(TtrpcCall)>;

// Services by full name ("attestation_agent.AttestationAgentService"), methods by bare name.
class TtrpcServer {
 public:
  explicit TtrpcServer(Runtime& runtime);
  ~TtrpcServer();  // after stop()
  TtrpcServer(const TtrpcServer&) = delete;
  TtrpcServer& operator=(const TtrpcServer&) = delete;

  // Before listen(). Methods run on all loops of the runtime at once. A method past its caller's deadline is
  // cancelled and DEADLINE_EXCEEDED answered.
  TtrpcServer& add(std::string service, std::string method, TtrpcMethod handler);
  [[nodiscard]] Result<Endpoint> listen(const Endpoint& endpoint, ListenOptions options = {});
  [[nodiscard]] Task<> stop(Milliseconds grace);
  // One connection, until it ends.
  [[nodiscard]] Task<> serve(StreamPtr stream) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// One connection, opened at the first call and again after it broke; concurrent calls share it. One loop.
class TtrpcClient {
 public:
  explicit TtrpcClient(Endpoint endpoint, Milliseconds connect_timeout = limits::kConnectTimeout);
  explicit TtrpcClient(StreamPtr stream);  // this connection and no other
  ~TtrpcClient();
  TtrpcClient(const TtrpcClient&) = delete;
  TtrpcClient& operator=(const TtrpcClient&) = delete;

  // UNAVAILABLE when there is no connection or it breaks; DEADLINE_EXCEEDED after `timeout` (also sent to the server).
  [[nodiscard]] asio::awaitable<RpcReply> call(std::string service, std::string method, Bytes payload,
                                               std::optional<Milliseconds> timeout = std::nullopt,
                                               std::vector<std::pair<std::string, std::string>> metadata = {});
  // Ends the connection and waits for it to be gone. Calls under way end with UNAVAILABLE.
  [[nodiscard]] asio::awaitable<void> close();

 private:
  struct State;
  struct Reader;
  std::shared_ptr<State> state_;
};

// The wire, for tests and tools.
namespace ttrpc {
enum class FrameType : std::uint8_t { request = 1, response = 2, data = 3 };
struct FrameHeader {
  std::uint32_t length = 0;  // of the data that follows; may exceed limits::kTtrpcMessage on input
  std::uint32_t stream = 0;
  std::uint8_t type = 0;
  std::uint8_t flags = 0;
};
inline constexpr std::size_t kHeaderSize = 10;
[[nodiscard]] Bytes frame(std::uint32_t stream, FrameType type, std::uint8_t flags, ByteView data);
[[nodiscard]] Result<FrameHeader> parse_header(ByteView ten_bytes);

struct Request {
  std::string service, method;
  Bytes payload;
  std::int64_t timeout_nano = 0;
  std::vector<std::pair<std::string, std::string>> metadata;
};
struct Response {
  RpcStatus status;
  Bytes payload;
};
[[nodiscard]] Bytes encode(const Request& request);
[[nodiscard]] Bytes encode(const Response& response);
[[nodiscard]] Result<Request> decode_request(ByteView data);
[[nodiscard]] Result<Response> decode_response(ByteView data);
}  // namespace ttrpc

}  // namespace cairn::net
