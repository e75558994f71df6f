#include "net/ttrpc.h"

#include <array>
#include <limits>

#include "base/log.h"
#include "net/acceptor.h"

namespace cairn::net {

namespace {

using ttrpc::FrameHeader;
using ttrpc::FrameType;

// Frames in and out of one connection; writers take turns.
class Wire {
 public:
  explicit Wire(StreamPtr stream) : stream_(std::move(stream)) {}

  // nothing: the peer ended between frames.
  Task<std::optional<FrameHeader>> header() {
    std::array<std::uint8_t, ttrpc::kHeaderSize> bytes;
    CAIRN_CO_TRY(const std::size_t n, co_await stream_->read_some(bytes));
    if (n == 0) co_return std::nullopt;
    CAIRN_CO_CHECK(co_await stream_->read_exactly(std::span(bytes).subspan(n)));
    co_return ttrpc::parse_header(bytes).transform([](FrameHeader h) { return std::optional(h); });
  }
  Task<Bytes> data(std::size_t size) {
    Bytes out(size);
    if (size > 0) CAIRN_CO_CHECK(co_await stream_->read_exactly(out));
    co_return out;
  }
  Task<> discard(std::size_t size) {
    Bytes scratch(std::min(size, limits::kReadBuffer));
    while (size > 0) {
      const std::size_t n = std::min(size, scratch.size());
      CAIRN_CO_CHECK(co_await stream_->read_exactly(std::span(scratch).first(n)));
      size -= n;
    }
    co_return Result<>{};
  }
  Task<> write(Bytes frame) {
    CAIRN_CO_CHECK(co_await turn_.acquire());
    struct Done {  // a frame half written, because its writer was cancelled, ends the connection
      Wire& wire;
      bool whole = false;
      ~Done() {
        if (!whole) wire.stream_->close();
        wire.turn_.release();
      }
    } done{*this};
    stream_->set_deadline(limits::kStallTimeout);
    CAIRN_CO_CHECK(co_await stream_->write(ByteView(frame)));
    stream_->set_deadline(std::nullopt);
    done.whole = true;
    co_return Result<>{};
  }
  void close() { stream_->close(); }
  [[nodiscard]] const Stream& stream() const { return *stream_; }

 private:
  StreamPtr stream_;
  Semaphore turn_{1};
};

std::unexpected<RpcStatus> refuse(RpcCode code, std::string message) {
  return std::unexpected(RpcStatus{code, std::move(message)});
}

}  // namespace

// ---- server

struct TtrpcServer::State {
  explicit State(Runtime& runtime) : acceptor(runtime, limits::kTtrpcConnections) {}
  std::map<std::string, std::map<std::string, TtrpcMethod>> services;
  Acceptor acceptor;

  [[nodiscard]] std::expected<const TtrpcMethod*, RpcStatus> find(const ttrpc::Request& request) const {
    const auto service = services.find(request.service);
    if (service == services.end()) return refuse(RpcCode::unimplemented, "service " + printable(request.service));
    const auto method = service->second.find(request.method);
    if (method == service->second.end()) return refuse(RpcCode::unimplemented, "method " + printable(request.method));
    return &method->second;
  }
};

namespace {

Task<> invoke(const TtrpcMethod& method, TtrpcCall call, RpcReply& reply) {
  try {
    reply = co_await method(std::move(call));
  } catch (const std::exception& e) {
    co_return fail(ErrorCode::internal, "ttrpc", e.what());
  }
  co_return Result<>{};
}

// One connection being served.
struct Serving {
  using Find = std::function<std::expected<const TtrpcMethod*, RpcStatus>(const ttrpc::Request&)>;
  Serving(StreamPtr stream, Find f) : wire(std::move(stream)), find(std::move(f)), calls(wire.stream().loop()) {}
  Wire wire;
  Find find;
  TaskGroup calls;
  Semaphore room{limits::kTtrpcCalls};
  Drain* drain = nullptr;

  Task<> answer(std::uint32_t stream, RpcReply reply) {
    ttrpc::Response response;
    if (reply)
      response.payload = std::move(*reply);
    else
      response.status = std::move(reply).error();
    Bytes data = ttrpc::encode(response);
    if (data.size() > limits::kTtrpcMessage)
      data = ttrpc::encode(
          ttrpc::Response{{RpcCode::resource_exhausted, "the response is larger than 4194304 bytes"}, {}});
    co_return co_await wire.write(ttrpc::frame(stream, FrameType::response, 0, data));
  }

  Task<> call(std::uint32_t stream, ttrpc::Request request) {
    struct Leave {
      Serving& serving;
      ~Leave() { serving.room.release(); }
    } leave{*this};
    RpcReply reply = refuse(RpcCode::unknown, {});
    if (const auto method = find(request); !method) {
      reply = std::unexpected(method.error());
    } else {
      TtrpcCall made{std::move(request.service),
                     std::move(request.method),
                     std::move(request.payload),
                     std::move(request.metadata),
                     std::nullopt,
                     std::nullopt};
      if (auto peer = peer_credentials(wire.stream())) made.peer = *peer;
      Result<> ran;
      if (request.timeout_nano > 0) {
        const auto limit = std::chrono::ceil<Milliseconds>(std::chrono::nanoseconds(request.timeout_nano));
        made.timeout = limit;
        ran = co_await with_timeout(invoke(**method, std::move(made), reply), limit);
      } else {
        ran = co_await invoke(**method, std::move(made), reply);
      }
      if (!ran) reply = std::unexpected(to_status(ran.error()));
    }
    co_return co_await answer(stream, std::move(reply));
  }

  // One frame; false: the peer has ended.
  Task<bool> frame() {
    CAIRN_CO_TRY(const auto header, co_await wire.header());
    if (!header) co_return false;
    if (header->length > limits::kTtrpcMessage) {
      CAIRN_CO_CHECK(co_await wire.discard(header->length));
      CAIRN_CO_CHECK(co_await answer(
          header->stream, refuse(RpcCode::invalid_argument, "message length " + std::to_string(header->length) +
                                                                " exceed maximum message size of 4194304")));
      co_return true;
    }
    CAIRN_CO_TRY(const Bytes data, co_await wire.data(header->length));
    if (header->stream % 2 == 0) {
      CAIRN_CO_CHECK(co_await answer(header->stream, refuse(RpcCode::invalid_argument, "stream id must be odd")));
      co_return true;
    }
    if (header->type != static_cast<std::uint8_t>(FrameType::request)) co_return true;  // streaming is not offered
    auto request = ttrpc::decode_request(data);
    if (!request) {
      CAIRN_CO_CHECK(co_await answer(header->stream, refuse(RpcCode::invalid_argument, "the request does not decode: " +
                                                                                           request.error().message)));
      co_return true;
    }
    CAIRN_CO_CHECK(co_await room.acquire());
    calls.spawn(call(header->stream, std::move(*request)), "ttrpc call");
    co_return true;
  }

  Task<> run() {
    co_await finish_when_cancelled();
    const Drain::Hook hook(drain, [this] {
      if (room.available() == limits::kTtrpcCalls) wire.close();
    });
    Result<> end;
    while (!co_await cancelled()) {
      const auto more = co_await frame();
      if (!more) end = fail(more.error());
      if (!more || !*more || (drain != nullptr && drain->started())) break;
    }
    // A client that stops sending gets its answers; one that broke off does not.
    if (end || (drain != nullptr && drain->started())) co_await calls.join();
    co_await calls.stop();
    co_return end;
  }
};

}  // namespace

TtrpcServer::TtrpcServer(Runtime& runtime) : state_(std::make_shared<State>(runtime)) {}
TtrpcServer::~TtrpcServer() = default;

TtrpcServer& TtrpcServer::add(std::string service, std::string method, TtrpcMethod handler) {
  state_->services[std::move(service)][std::move(method)] = std::move(handler);
  return *this;
}

namespace {
Task<> serve_on(StreamPtr stream, Serving::Find find, Drain* drain) {
  Serving serving(std::move(stream), std::move(find));
  serving.drain = drain;
  co_return co_await serving.run();
}
}  // namespace

Result<Endpoint> TtrpcServer::listen(const Endpoint& endpoint, ListenOptions options) {
  const State* state = state_.get();
  return state_->acceptor.listen(
      endpoint,
      [state](StreamPtr stream, Drain& drain) {
        return serve_on(std::move(stream), [state](const ttrpc::Request& r) { return state->find(r); }, &drain);
      },
      options);
}
Task<> TtrpcServer::stop(Milliseconds grace) { return state_->acceptor.stop(grace); }
Task<> TtrpcServer::serve(StreamPtr stream) const {
  return serve_on(std::move(stream), [state = state_](const ttrpc::Request& r) { return state->find(r); }, nullptr);
}

// ---- client

struct TtrpcClient::State {
  struct Pending {
    Event done;
    std::optional<RpcReply> reply;
  };
  Endpoint endpoint;
  Milliseconds connect_timeout{};
  bool fixed = false;  // this one connection and no other
  std::shared_ptr<Wire> wire;
  std::uint32_t next = 1;
  std::map<std::uint32_t, std::shared_ptr<Pending>> pending;
  Semaphore connecting{1};
  std::size_t readers = 0;
  Event reader_ended;

  void drop(const std::shared_ptr<Wire>& broken, const std::string& why) {
    broken->close();
    if (wire != broken) return;
    wire.reset();
    for (auto& [id, call] : std::exchange(pending, {})) {
      if (!call->reply) call->reply = refuse(RpcCode::unavailable, why);
      call->done.set();
    }
  }
};

struct TtrpcClient::Reader {
  static Task<> frame(State& state, Wire& wire, bool& more) {
    CAIRN_CO_TRY(const auto header, co_await wire.header());
    more = header.has_value();
    if (!more) co_return Result<>{};
    if (header->length > limits::kTtrpcMessage)
      co_return fail(ErrorCode::too_large, "ttrpc", "a response is too large");
    CAIRN_CO_TRY(const Bytes data, co_await wire.data(header->length));
    const auto at = state.pending.find(header->stream);
    if (at == state.pending.end() || header->type != static_cast<std::uint8_t>(FrameType::response))
      co_return Result<>{};
    auto response = ttrpc::decode_response(data);
    if (!response)
      at->second->reply = refuse(RpcCode::internal, "the response does not decode: " + response.error().message);
    else if (response->status.code != RpcCode::ok)
      at->second->reply = std::unexpected(std::move(response->status));
    else
      at->second->reply = std::move(response->payload);
    at->second->done.set();
    state.pending.erase(at);
    co_return Result<>{};
  }
  static Task<> run(std::shared_ptr<State> state, std::shared_ptr<Wire> wire) {
    std::string why = "the server closed the connection";
    for (bool more = true; more;) {
      const auto result = co_await frame(*state, *wire, more);
      if (result) continue;
      why = result.error().text();
      break;
    }
    state->drop(wire, why);
    --state->readers;
    state->reader_ended.set();
    co_return Result<>{};
  }
  static void start(const std::shared_ptr<State>& state, const Executor& loop) {
    ++state->readers;
    spawn(loop, run(state, state->wire), "ttrpc client");
  }
  static Task<std::shared_ptr<Wire>> connected(std::shared_ptr<State> state) {
    if (state->wire) co_return state->wire;
    CAIRN_CO_CHECK(co_await state->connecting.acquire());
    struct Leave {
      Semaphore& turn;
      ~Leave() { turn.release(); }
    } leave{state->connecting};
    if (state->wire) co_return state->wire;
    if (state->fixed) co_return fail(ErrorCode::unavailable, "ttrpc", "the connection has ended");
    CAIRN_CO_TRY(StreamPtr stream, co_await connect(state->endpoint, {.timeout = state->connect_timeout}));
    state->wire = std::make_shared<Wire>(std::move(stream));
    state->next = 1;
    start(state, co_await this_loop());
    co_return state->wire;
  }
  static Task<> exchange(std::shared_ptr<State> state, ttrpc::Request request, RpcReply& reply) {
    CAIRN_CO_TRY(const auto wire, co_await connected(state));
    const Bytes data = ttrpc::encode(request);
    if (data.size() > limits::kTtrpcMessage)
      co_return fail(ErrorCode::too_large, "ttrpc", "the request is larger than 4194304 bytes");
    const std::uint32_t id = state->next;
    if (id > std::numeric_limits<std::int32_t>::max()) {
      state->drop(wire, "stream ids are used up");
      co_return fail(ErrorCode::unavailable, "ttrpc", "stream ids are used up; try again");
    }
    state->next += 2;
    const auto call = std::make_shared<State::Pending>();
    state->pending.emplace(id, call);
    struct Forget {
      State& s;
      std::uint32_t which;
      ~Forget() { s.pending.erase(which); }
    } forget{*state, id};
    if (auto sent = co_await wire->write(ttrpc::frame(id, FrameType::request, 0, data)); !sent) {
      state->drop(wire, sent.error().text());
      co_return sent;
    }
    while (!call->reply) CAIRN_CO_CHECK(co_await call->done.wait());
    reply = std::move(*call->reply);
    co_return Result<>{};
  }
};

TtrpcClient::TtrpcClient(Endpoint endpoint, Milliseconds connect_timeout) : state_(std::make_shared<State>()) {
  state_->endpoint = std::move(endpoint);
  state_->connect_timeout = connect_timeout;
}

TtrpcClient::TtrpcClient(StreamPtr stream) : state_(std::make_shared<State>()) {
  const Executor loop = stream->loop();
  state_->fixed = true;
  state_->wire = std::make_shared<Wire>(std::move(stream));
  Reader::start(state_, loop);
}

TtrpcClient::~TtrpcClient() {
  if (const auto wire = state_->wire) state_->drop(wire, "the client was closed");
}

asio::awaitable<void> TtrpcClient::close() {
  const auto state = state_;
  state->fixed = true;
  if (const auto wire = state->wire) state->drop(wire, "the client was closed");
  while (state->readers > 0)
    if (!co_await state->reader_ended.wait()) break;
}

asio::awaitable<RpcReply> TtrpcClient::call(std::string service, std::string method, Bytes payload,
                                            std::optional<Milliseconds> timeout,
                                            std::vector<std::pair<std::string, std::string>> metadata) {
  ttrpc::Request request{std::move(service), std::move(method), std::move(payload), 0, std::move(metadata)};
  if (timeout) request.timeout_nano = std::chrono::nanoseconds(*timeout).count();
  RpcReply reply = refuse(RpcCode::unknown, {});
  auto task = Reader::exchange(state_, std::move(request), reply);
  const Result<> result = timeout ? co_await with_timeout(std::move(task), *timeout) : co_await std::move(task);
  if (!result) co_return std::unexpected(to_status(result.error()));
  co_return reply;
}

}  // namespace cairn::net
