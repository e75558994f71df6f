#include "net/stream.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>

#include "base/file.h"
#include "base/log.h"
#include "net/deadline.h"

namespace cairn::net {

namespace {

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr int kDirectOperations = 64;  // operations without waiting before the other coroutines get their turn
constexpr std::size_t kPieces = 64;    // of one sendmsg

std::unexpected<Error> socket_error(int number, std::string where, std::string_view action) {
  Error error = errno_error(number, std::move(where), action);
  switch (number) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case ENOTCONN:
    case ENOENT:
    case EADDRNOTAVAIL: error.code = ErrorCode::unavailable; break;
    case ETIMEDOUT: error.code = ErrorCode::timed_out; break;
    default: break;
  }
  return fail(std::move(error));
}

Endpoint endpoint_of(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
    return Endpoint::tcp(text.data(), ntohs(v4.sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr))
      ::inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text.data(), text.size());
    else
      ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    return Endpoint::tcp(text.data(), ntohs(v6.sin6_port));
  }
  if (address.ss_family == AF_UNIX) return Endpoint::local(reinterpret_cast<const sockaddr_un&>(address).sun_path);
  return {};
}

template <class Name>
Endpoint name_of(int fd, Name&& get) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (get(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  return endpoint_of(address);
}

void set_option(int fd, int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); }

void prepare_tcp(int fd, bool keepalive) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  if (!keepalive) return;
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 30);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 5);
}

Result<sockaddr_un> unix_address(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& text = path.native();
  if (text.size() >= sizeof address.sun_path)
    return fail(ErrorCode::invalid_argument, text, "the path of a unix socket is limited to 107 bytes");
  std::copy(text.begin(), text.end(), address.sun_path);
  return address;
}

// ---- sockets

class SocketStream final : public Stream {
 public:
  SocketStream(const Executor& loop, Fd fd, int family, Endpoint peer)
      : socket_(loop), peer_(std::move(peer)), deadline_(loop, [this] { socket_.cancel(ignored_); }) {
    boost::system::error_code ec;
    fd_ = fd.get();
    socket_.assign(asio::generic::stream_protocol(family, 0), fd_, ec);
    if (!ec)
      fd.release();
    else
      fd_ = -1;
    socket_.native_non_blocking(true, ec);
  }
  ~SocketStream() override { SocketStream::close(); }

  Task<std::size_t> read_some(std::span<std::uint8_t> into) override {
    if (into.empty()) co_return fail(ErrorCode::invalid_argument, "a read into no space");
    if (auto stopped = check(); !stopped) co_return fail(std::move(stopped).error());
    if (ended_) co_return 0U;
    if (full_) {  // the last read filled its buffer: more is probably there
      const ssize_t n = ::recv(fd_, into.data(), into.size(), 0);
      if (n >= 0) {
        full_ = static_cast<std::size_t>(n) == into.size();
        ended_ = n == 0;
        if (++direct_ % kDirectOperations == 0) co_await yield();
        co_return static_cast<std::size_t>(n);
      }
      full_ = false;
      if (errno != EAGAIN && errno != EINTR) co_return socket_error(errno, peer_.text(), "receive");
    }
    auto [ec, n] = co_await socket_.async_read_some(asio::buffer(into.data(), into.size()), kTuple);
    if (!ec) {
      full_ = n == into.size();
      co_return n;
    }
    ended_ = ec == asio::error::eof;
    if (ended_) co_return 0U;
    co_return failed(ec, "receive");
  }

  Task<> write(std::span<const ByteView> pieces) override {
    if (auto stopped = check(); !stopped) co_return fail(std::move(stopped).error());
    std::size_t index = 0, offset = 0;  // what is written: pieces before index, and offset bytes of that one
    for (;;) {
      std::array<iovec, kPieces> vector;
      std::size_t count = 0, skip = offset;
      for (std::size_t i = index; i < pieces.size() && count < kPieces; ++i) {
        const ByteView rest = pieces[i].subspan(std::exchange(skip, 0));
        if (!rest.empty()) vector[count++] = {const_cast<std::uint8_t*>(rest.data()), rest.size()};
      }
      if (count == 0) co_return Result<>{};
      msghdr message{};
      message.msg_iov = vector.data();
      message.msg_iovlen = count;
      const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
      if (sent >= 0) {
        std::size_t n = static_cast<std::size_t>(sent);
        while (index < pieces.size() && n >= pieces[index].size() - offset) {
          n -= pieces[index].size() - offset;
          offset = 0;
          ++index;
        }
        offset += n;
        if (++direct_ % kDirectOperations == 0) co_await yield();
        if (index == pieces.size()) co_return Result<>{};
        continue;
      }
      if (errno == EINTR) continue;
      if (errno != EAGAIN) co_return socket_error(errno, peer_.text(), "send");
      auto [ec] = co_await socket_.async_wait(asio::socket_base::wait_write, kTuple);
      if (ec) co_return failed(ec, "send");
      if (auto stopped = check(); !stopped) co_return fail(std::move(stopped).error());
    }
  }

  Task<> shutdown_write() override {
    if (auto stopped = check(); !stopped) co_return fail(std::move(stopped).error());
    if (::shutdown(fd_, SHUT_WR) != 0 && errno != ENOTCONN) co_return socket_error(errno, peer_.text(), "shut down");
    co_return Result<>{};
  }
  void close() noexcept override {
    if (fd_ < 0) return;
    fd_ = -1;
    socket_.close(ignored_);
  }
  void set_deadline(std::optional<Milliseconds> duration) override { deadline_.set(duration); }
  Executor loop() const override { return const_cast<decltype(socket_)&>(socket_).get_executor(); }
  const Endpoint& peer() const override { return peer_; }
  int native_handle() const override { return fd_; }

 private:
  Result<> check() const {
    if (deadline_.expired()) return fail(ErrorCode::timed_out, peer_.text(), "the connection made no progress in time");
    if (fd_ < 0) return fail(ErrorCode::cancelled, peer_.text(), "the connection was closed");
    return {};
  }
  std::unexpected<Error> failed(const boost::system::error_code& ec, std::string_view action) const {
    if (auto stopped = check(); !stopped) return fail(std::move(stopped).error());
    if (ec == asio::error::operation_aborted) return fail(ErrorCode::cancelled, "stopped on request");
    return socket_error(ec.value(), peer_.text(), action);
  }

  asio::generic::stream_protocol::socket socket_;
  Endpoint peer_;
  int fd_ = -1;
  bool full_ = false, ended_ = false;
  int direct_ = 0;
  boost::system::error_code ignored_;
  Deadline deadline_;
};

}  // namespace

Result<StreamPtr> adopt_socket(const Executor& loop, int fd) {
  Fd owned(fd);
  int family = 0;
  socklen_t size = sizeof family;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size) != 0) return socket_error(errno, "socket", "adopt");
  return std::make_unique<SocketStream>(loop, std::move(owned), family, name_of(fd, ::getpeername));
}

Result<PeerCredentials> peer_credentials(const Stream& stream) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  int family = 0;
  socklen_t family_size = sizeof family;
  const int fd = stream.native_handle();
  if (fd < 0 || ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &family_size) != 0 || family != AF_UNIX ||
      ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
    return fail(ErrorCode::unsupported, stream.peer().text(), "only unix sockets tell who is at the other end");
  return PeerCredentials{credentials.pid, credentials.uid, credentials.gid};
}

// ---- Endpoint

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const auto bad = [&](const char* why) { return fail(ErrorCode::malformed, std::string(text), why); };
  if (text.starts_with("unix:")) {
    text.remove_prefix(5);
    if (text.starts_with("//")) text.remove_prefix(2);
    if (text.empty() || text[0] != '/') return bad("a unix endpoint needs an absolute path: unix:///run/x.sock");
    return local(std::string(text));
  }
  std::string_view host;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos || close + 1 >= text.size() || text[close + 1] != ':')
      return bad("an IPv6 endpoint is written [address]:port");
    host = text.substr(1, close - 1);
    text.remove_prefix(close + 2);
  } else {
    const auto colon = text.find(':');
    if (colon == std::string_view::npos || text.find(':', colon + 1) != std::string_view::npos)
      return bad("an endpoint is written host:port");
    host = text.substr(0, colon);
    text.remove_prefix(colon + 1);
  }
  std::uint16_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (host.empty() || ec != std::errc() || end != text.data() + text.size())
    return bad("an endpoint is written host:port");
  return tcp(std::string(host), number);
}

std::string Endpoint::text() const {
  if (is_unix()) return "unix://" + path.native();
  const bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

// ---- Stream

bool Stream::quiet() const {
  std::uint8_t byte = 0;
  const int fd = native_handle();
  if (fd < 0) return true;
  const ssize_t n = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n < 0 ? errno == EAGAIN : n > 0 && tls() != nullptr;  // TLS: may be a session ticket
}

Task<> Stream::write(ByteView bytes) {
  const ByteView one[] = {bytes};
  co_return co_await write(std::span<const ByteView>(one));
}

Task<> Stream::read_exactly(std::span<std::uint8_t> into) {
  while (!into.empty()) {
    CAIRN_CO_TRY(const std::size_t n, co_await read_some(into));
    if (n == 0) co_return fail(ErrorCode::malformed, peer().text(), "the peer ended in the middle");
    into = into.subspan(n);
  }
  co_return Result<>{};
}

// ---- connecting

namespace {

struct Attempts {
  using Socket = asio::generic::stream_protocol::socket;
  std::vector<std::unique_ptr<Socket>> sockets;
  int winner = -1;
  std::size_t failed = 0;
  int last_error = 0;
  Event changed;
};

using Addresses = std::vector<asio::generic::stream_protocol::endpoint>;

Task<Addresses> resolve(const Endpoint& endpoint) {
  Addresses out;
  if (endpoint.is_unix()) {
    CAIRN_CO_TRY(const sockaddr_un address, unix_address(endpoint.path));
    out.emplace_back(&address, sizeof address);
    co_return out;
  }
  boost::system::error_code ec;
  const auto address = asio::ip::make_address(endpoint.host, ec);
  if (!ec) {
    out.emplace_back(asio::ip::tcp::endpoint(address, endpoint.port));
    co_return out;
  }
  asio::ip::tcp::resolver resolver(co_await asio::this_coro::executor);
  auto [error, found] = co_await resolver.async_resolve(endpoint.host, std::to_string(endpoint.port),
                                                        asio::ip::resolver_base::numeric_service, kTuple);
  if (error == asio::error::operation_aborted) co_return fail(ErrorCode::cancelled, "stopped on request");
  if (error) co_return fail(ErrorCode::unavailable, endpoint.text(), "the name does not resolve: " + error.message());
  Addresses families[2];
  for (const auto& entry : found) families[entry.endpoint().address().is_v6() ? 0 : 1].emplace_back(entry.endpoint());
  for (std::size_t i = 0; i < std::max(families[0].size(), families[1].size()); ++i)
    for (const auto& family : families)
      if (i < family.size()) out.push_back(family[i]);
  co_return out;
}

void begin(const std::shared_ptr<Attempts>& all, const Executor& loop,
           const asio::generic::stream_protocol::endpoint& address, const ConnectOptions& options) {
  const int index = static_cast<int>(all->sockets.size());
  auto& socket = *all->sockets.emplace_back(std::make_unique<Attempts::Socket>(loop));
  boost::system::error_code ec;
  socket.open(address.protocol(), ec);
  if (!ec) ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
  if (!ec && options.mark != 0 &&
      ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_MARK, &options.mark, sizeof options.mark) != 0)
    ec.assign(errno, boost::system::system_category());
  if (ec) {
    ++all->failed;
    all->last_error = ec.value();
    all->changed.set();
    return;
  }
  socket.async_connect(address, [all, index](boost::system::error_code error) {
    if (!error && all->winner < 0) all->winner = index;
    if (error) {
      ++all->failed;
      all->last_error = error.value();
    }
    all->changed.set();
  });
}

Task<StreamPtr> connect_any(const Endpoint& endpoint, const ConnectOptions& options) {
  CAIRN_CO_TRY(const Addresses addresses, co_await resolve(endpoint));
  const Executor loop = co_await asio::this_coro::executor;
  const auto all = std::make_shared<Attempts>();
  struct Abandon {  // whatever happens, no attempt is left running
    Attempts& all;
    ~Abandon() {
      boost::system::error_code ignored;
      for (const auto& socket : all.sockets) socket->close(ignored);
    }
  } abandon{*all};
  asio::steady_timer next(loop);
  while (all->winner < 0) {
    if (all->sockets.size() < addresses.size()) {
      begin(all, loop, addresses[all->sockets.size()], options);
      if (all->sockets.size() < addresses.size()) {
        next.expires_after(std::chrono::milliseconds(300));
        next.async_wait([all](boost::system::error_code ec) {
          if (!ec) all->changed.set();
        });
      }
    } else if (all->failed == addresses.size()) {
      co_return socket_error(all->last_error, endpoint.text(), "connect");
    }
    CAIRN_CO_CHECK(co_await all->changed.wait());
    // Woken by a success, a failure (the next address starts at once), or the timer (the next one starts as well).
  }
  auto& socket = *all->sockets[static_cast<std::size_t>(all->winner)];
  boost::system::error_code ec;
  Fd fd(socket.release(ec));  // not a duplicate: that would leave the old registration with the reactor
  if (ec || !fd) co_return socket_error(ec.value(), endpoint.text(), "connect");
  const int family = addresses[static_cast<std::size_t>(all->winner)].protocol().family();
  if (family != AF_UNIX) prepare_tcp(fd.get(), options.keepalive);
  co_return std::make_unique<SocketStream>(loop, std::move(fd), family, endpoint);
}

}  // namespace

Task<StreamPtr> connect(Endpoint endpoint, ConnectOptions options) {
  auto result = co_await with_timeout(connect_any(endpoint, options), options.timeout);
  if (!result && result.error().code == ErrorCode::timed_out && result.error().where.empty())
    co_return fail(ErrorCode::timed_out, endpoint.text(),
                   "no connection within " + std::to_string(options.timeout.count()) + " ms");
  co_return result;
}

// ---- listening

struct Listener::State {
  explicit State(const Executor& loop) : descriptor(loop) {}
  asio::posix::stream_descriptor descriptor;
  Endpoint local;
  int family = AF_INET;
  bool closed = false;
};

namespace {

// A socket file that nobody listens on any more stands in the way: remove it. One that answers is in use.
Result<> clear_stale(const std::filesystem::path& path, const sockaddr_un& address) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode))
    return fail(ErrorCode::conflict, path.native(), "exists and is not a socket; remove it or choose another path");
  const Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return socket_error(errno, path.native(), "probe");
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno == EAGAIN)
    return fail(ErrorCode::conflict, path.native(), "another process listens on this socket");
  if (errno != ECONNREFUSED) return socket_error(errno, path.native(), "probe");
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return socket_error(errno, path.native(), "remove");
  return {};
}

Result<Fd> bind_unix(const Endpoint& endpoint, const ListenOptions& options) {
  CAIRN_TRY(const sockaddr_un address, unix_address(endpoint.path));
  CAIRN_CHECK(clear_stale(endpoint.path, address));
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return socket_error(errno, endpoint.text(), "listen");
  // The mode of the file comes from the descriptor's mode: no moment with wider permissions.
  if (::fchmod(fd.get(), options.mode) != 0) return socket_error(errno, endpoint.text(), "listen");
  const mode_t old = ::umask(0777 & ~options.mode);
  const int bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int number = errno;
  ::umask(old);
  if (bound != 0) return socket_error(number, endpoint.text(), "listen");
  return fd;
}

Result<Fd> bind_tcp(const Endpoint& endpoint, const ListenOptions& options) {
  boost::system::error_code ec;
  const auto address = asio::ip::make_address(endpoint.host == "localhost" ? "127.0.0.1" : endpoint.host, ec);
  if (ec) return fail(ErrorCode::invalid_argument, endpoint.text(), "listen on an address, not on a name");
  const asio::ip::tcp::endpoint where(address, endpoint.port);
  Fd fd(::socket(where.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return socket_error(errno, endpoint.text(), "listen");
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reuse_port) set_option(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (address.is_v6()) set_option(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, options.v6_only ? 1 : 0);
  const int one = 1;
  if (options.transparent && ::setsockopt(fd.get(), SOL_IP, IP_TRANSPARENT, &one, sizeof one) != 0)
    return socket_error(errno, endpoint.text(), "set IP_TRANSPARENT");
  if (::bind(fd.get(), where.data(), static_cast<socklen_t>(where.size())) != 0)
    return socket_error(errno, endpoint.text(), "listen");
  return fd;
}

}  // namespace

Listener::Listener(std::unique_ptr<State> state) : state_(std::move(state)) {}
Listener::~Listener() { close(); }

Result<std::unique_ptr<Listener>> Listener::listen(const Executor& loop, const Endpoint& endpoint,
                                                   ListenOptions options) {
  CAIRN_TRY(Fd fd, endpoint.is_unix() ? bind_unix(endpoint, options) : bind_tcp(endpoint, options));
  if (::listen(fd.get(), options.backlog) != 0) return socket_error(errno, endpoint.text(), "listen");
  auto state = std::make_unique<State>(loop);
  state->local = endpoint.is_unix() ? endpoint : name_of(fd.get(), ::getsockname);
  state->family = endpoint.is_unix() ? AF_UNIX : AF_INET;
  boost::system::error_code ec;
  state->descriptor.assign(fd.get(), ec);
  if (ec) return socket_error(ec.value(), endpoint.text(), "listen");
  fd.release();
  return std::unique_ptr<Listener>(new Listener(std::move(state)));
}

Task<StreamPtr> Listener::accept(std::optional<Executor> loop) {
  State& s = *state_;
  while (!s.closed) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    Fd fd(::accept4(s.descriptor.native_handle(), reinterpret_cast<sockaddr*>(&address), &size,
                    SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (fd) {
      if (s.family != AF_UNIX) prepare_tcp(fd.get(), true);
      co_return std::make_unique<SocketStream>(
          loop ? *loop : s.descriptor.get_executor(), std::move(fd),
          address.ss_family == AF_UNIX ? AF_UNIX : static_cast<int>(address.ss_family),
          s.family == AF_UNIX ? s.local : endpoint_of(address));
    }
    switch (errno) {
      case EAGAIN: {
        auto [ec] = co_await s.descriptor.async_wait(asio::posix::descriptor_base::wait_read, kTuple);
        if (ec) co_return fail(ErrorCode::cancelled, s.local.text(), "the listener was closed");
        break;
      }
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        spdlog::warn("{}: cannot accept: {}", s.local.text(), errno_error(errno, {}, "accept").message);
        CAIRN_CO_CHECK(co_await sleep_for(Milliseconds(100)));
        break;
      case EBADF:
      case EINVAL:
      case ENOTSOCK: co_return socket_error(errno, s.local.text(), "accept");
      default: break;  // that connection is gone already; the next
    }
  }
  co_return fail(ErrorCode::cancelled, s.local.text(), "the listener was closed");
}

const Endpoint& Listener::local() const { return state_->local; }
int Listener::native_handle() const { return const_cast<State&>(*state_).descriptor.native_handle(); }
void Listener::close() noexcept {
  if (std::exchange(state_->closed, true)) return;
  if (state_->local.is_unix()) ::unlink(state_->local.path.c_str());
  boost::system::error_code ignored;
  state_->descriptor.close(ignored);
}

// ---- wrappers

namespace {

class PrefixStream final : public Stream {
 public:
  PrefixStream(Bytes first, StreamPtr inner)
      : first_(std::move(first)), owned_(std::move(inner)), inner_(owned_.get()) {}
  PrefixStream(Bytes first, Stream& inner) : first_(std::move(first)), inner_(&inner) {}
  Task<std::size_t> read_some(std::span<std::uint8_t> into) override {
    if (at_ == first_.size()) return inner_->read_some(into);
    return take(into);
  }
  Task<> write(std::span<const ByteView> pieces) override { return inner_->write(pieces); }
  Task<> shutdown_write() override { return inner_->shutdown_write(); }
  void close() noexcept override { inner_->close(); }
  void set_deadline(std::optional<Milliseconds> duration) override { inner_->set_deadline(duration); }
  Executor loop() const override { return inner_->loop(); }
  const Endpoint& peer() const override { return inner_->peer(); }
  int native_handle() const override { return inner_->native_handle(); }
  const TlsInfo* tls() const override { return inner_->tls(); }

 private:
  Task<std::size_t> take(std::span<std::uint8_t> into) {
    const std::size_t n = std::min(into.size(), first_.size() - at_);
    std::copy_n(first_.begin() + static_cast<std::ptrdiff_t>(at_), n, into.begin());
    at_ += n;
    if (at_ == first_.size()) {
      first_ = {};
      at_ = 0;
    }
    co_return n;
  }
  Bytes first_;
  std::size_t at_ = 0;
  StreamPtr owned_;  // null where it is somebody else's
  Stream* inner_;
};

// One direction of a pipe in memory.
struct Pipe {
  Bytes bytes;
  std::size_t at = 0;
  bool ended = false, broken = false;
  Event readable, writable;
};

class MemoryStream final : public Stream {
 public:
  MemoryStream(const Executor& loop, std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out)
      : loop_(loop), in_(std::move(in)), out_(std::move(out)), deadline_(loop, [this] { wake(); }) {}
  ~MemoryStream() override { MemoryStream::close(); }

  Task<std::size_t> read_some(std::span<std::uint8_t> into) override {
    const auto in = in_;
    for (;;) {
      if (auto stopped = check(); !stopped) co_return fail(std::move(stopped).error());
      if (in->at < in->bytes.size()) break;
      if (in->broken) co_return fail(ErrorCode::unavailable, peer_.text(), "the peer closed the pipe");
      if (in->ended) co_return 0U;
      CAIRN_CO_CHECK(co_await in->readable.wait());
    }
    const std::size_t n = std::min(into.size(), in->bytes.size() - in->at);
    std::copy_n(in->bytes.begin() + static_cast<std::ptrdiff_t>(in->at), n, into.begin());
    in->at += n;
    if (in->at == in->bytes.size()) {
      in->bytes.clear();
      in->at = 0;
    }
    in->writable.set();
    co_return n;
  }
  Task<> write(std::span<const ByteView> pieces) override {
    const auto out = out_;
    for (ByteView piece : pieces) {
      while (!piece.empty()) {
        if (auto stopped = check(); !stopped) co_return fail(std::move(stopped).error());
        if (out->broken || out->ended) co_return fail(ErrorCode::unavailable, peer_.text(), "the pipe is closed");
        const std::size_t room = limits::kMemoryPipe - std::min(limits::kMemoryPipe, out->bytes.size());
        if (room == 0) {
          CAIRN_CO_CHECK(co_await out->writable.wait());
          continue;
        }
        const ByteView now = piece.first(std::min(room, piece.size()));
        append(out->bytes, now);
        piece = piece.subspan(now.size());
        out->readable.set();
      }
    }
    co_return Result<>{};
  }
  Task<> shutdown_write() override {
    out_->ended = true;
    out_->readable.set();
    co_return Result<>{};
  }
  void close() noexcept override {
    if (std::exchange(closed_, true)) return;
    if (!out_->ended) out_->broken = true;
    in_->broken = true;
    wake();
  }
  void set_deadline(std::optional<Milliseconds> duration) override { deadline_.set(duration); }
  Executor loop() const override { return loop_; }
  const Endpoint& peer() const override { return peer_; }

 private:
  Result<> check() const {
    if (deadline_.expired()) return fail(ErrorCode::timed_out, peer_.text(), "the connection made no progress in time");
    if (closed_) return fail(ErrorCode::cancelled, peer_.text(), "the connection was closed");
    return {};
  }
  void wake() {
    for (const auto& pipe : {in_, out_}) {
      pipe->readable.set();
      pipe->writable.set();
    }
  }
  Executor loop_;
  Endpoint peer_ = Endpoint::tcp("memory", 0);
  std::shared_ptr<Pipe> in_, out_;
  bool closed_ = false;
  Deadline deadline_;
};

}  // namespace

StreamPtr with_prefix(Bytes first, StreamPtr inner) {
  if (first.empty()) return inner;
  return std::make_unique<PrefixStream>(std::move(first), std::move(inner));
}
StreamPtr with_prefix(Bytes first, Stream& inner) { return std::make_unique<PrefixStream>(std::move(first), inner); }

std::pair<StreamPtr, StreamPtr> memory_pair(const Executor& loop) {
  const auto ab = std::make_shared<Pipe>(), ba = std::make_shared<Pipe>();
  return {std::make_unique<MemoryStream>(loop, ba, ab), std::make_unique<MemoryStream>(loop, ab, ba)};
}

// ---- relay

namespace {

struct Relay {
  Stream* sides[2];
  RelayOptions options;
  RelayCounts* counts;
  Error first_error{ErrorCode::internal, {}, {}};
  bool failed = false;

  void stop(Error error) {
    if (!std::exchange(failed, true)) first_error = std::move(error);
    sides[0]->close();
    sides[1]->close();
  }
};

constexpr std::size_t kSmallBuffer = 16U << 10;  // until a connection proves to be busy

Task<> pump(Relay& relay, int from) {
  Stream &source = *relay.sides[from], &sink = *relay.sides[1 - from];
  std::size_t size = std::min(kSmallBuffer, relay.options.buffer);
  auto buffer = std::make_unique_for_overwrite<std::uint8_t[]>(size);
  for (;;) {
    if (relay.options.idle)
      for (Stream* side : relay.sides) side->set_deadline(relay.options.idle);
    auto n = co_await source.read_some({buffer.get(), size});
    if (n && *n == 0) {
      if (auto r = co_await sink.shutdown_write(); !r) relay.stop(std::move(r).error());
      co_return Result<>{};
    }
    Result<> written;
    if (n) written = co_await sink.write(ByteView{buffer.get(), *n});
    if (!n || !written) {
      relay.stop(n ? std::move(written).error() : std::move(n).error());
      co_return Result<>{};
    }
    if (relay.counts != nullptr) (from == 0 ? relay.counts->a_to_b : relay.counts->b_to_a) += *n;
    if (*n == size && size < relay.options.buffer) {
      size = relay.options.buffer;
      buffer = std::make_unique_for_overwrite<std::uint8_t[]>(size);
    }
  }
}

}  // namespace

Task<> relay(Stream& a, Stream& b, RelayOptions options, RelayCounts* counts) {
  Relay state{{&a, &b}, options, counts};
  CAIRN_CO_CHECK(co_await both(pump(state, 0), pump(state, 1)));
  for (Stream* side : state.sides) side->set_deadline(std::nullopt);
  if (state.failed) co_return fail(std::move(state.first_error));
  co_return Result<>{};
}

}  // namespace cairn::net
