#include "net/tls.h"

#include <arpa/inet.h>
#include <openssl/comp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <mutex>

#include "base/log.h"

namespace cairn::net {

namespace {

template <auto Free>
struct Deleter {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
using BioPtr = std::unique_ptr<BIO, Deleter<BIO_free>>;
using X509Ptr = std::unique_ptr<X509, Deleter<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using CtxPtr = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using SslPtr = std::unique_ptr<SSL, Deleter<SSL_free>>;

std::string openssl_reason() {
  std::string out;
  for (unsigned long e = ERR_get_error(); e != 0; e = ERR_get_error()) {
    const char* text = ERR_reason_error_string(e);
    if (text != nullptr && out.find(text) == std::string::npos) out.append(out.empty() ? "" : "; ").append(text);
  }
  return out.empty() ? "no further detail" : out;
}

std::unexpected<Error> bad(ErrorCode code, const char* what) {
  return fail(code, "tls", std::string(what) + ": " + openssl_reason());
}

BioPtr reading(ByteView bytes) { return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size()))); }

int no_password(char*, int, int, void*) { return -1; }

// Certificates of a PEM text, in order.
Result<std::vector<X509Ptr>> read_certificates(std::string_view pem) {
  std::vector<X509Ptr> out;
  const BioPtr bio = reading(as_bytes(pem));
  ERR_clear_error();
  while (X509* one = PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr)) out.emplace_back(one);
  const unsigned long last = ERR_peek_last_error();
  if (out.empty() || ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
    return bad(ErrorCode::malformed, "the PEM text holds no certificate, or a damaged one");
  ERR_clear_error();
  return out;
}

Result<> use_identity(SSL_CTX* ctx, const TlsIdentity& identity) {
  CAIRN_TRY(const auto chain, read_certificates(identity.certificate_pem));
  const BioPtr bio = reading(identity.private_key_pem.view());
  const KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
  if (!key) return bad(ErrorCode::malformed, "the private key is no unencrypted PEM key");
  if (SSL_CTX_use_certificate(ctx, chain[0].get()) != 1)
    return bad(ErrorCode::invalid_argument, "the certificate cannot be used");
  if (SSL_CTX_use_PrivateKey(ctx, key.get()) != 1 || SSL_CTX_check_private_key(ctx) != 1)
    return bad(ErrorCode::invalid_argument, "the private key does not belong to the certificate");
  for (std::size_t i = 1; i < chain.size(); ++i)
    if (SSL_CTX_add1_chain_cert(ctx, chain[i].get()) != 1)
      return bad(ErrorCode::invalid_argument, "the chain cannot be used");
  return {};
}

Result<> add_roots(SSL_CTX* ctx, const TlsOptions& options) {
  if (options.trust == TlsTrust::system && SSL_CTX_set_default_verify_paths(ctx) != 1)
    return bad(ErrorCode::io_failed, "the system's roots cannot be loaded");
  if (options.extra_roots_pem.empty()) {
    if (options.trust == TlsTrust::given) return fail(ErrorCode::invalid_argument, "tls", "no roots were given");
    return {};
  }
  CAIRN_TRY(const auto roots, read_certificates(options.extra_roots_pem));
  X509_STORE* store = SSL_CTX_get_cert_store(ctx);
  for (const auto& root : roots)
    if (X509_STORE_add_cert(store, root.get()) != 1) return bad(ErrorCode::invalid_argument, "a root cannot be used");
  return {};
}

Result<Bytes> alpn_wire(const std::vector<std::string>& names) {
  Bytes out;
  for (const auto& name : names) {
    if (name.empty() || name.size() > 255)
      return fail(ErrorCode::invalid_argument, "alpn", "a name has 1 to 255 bytes");
    out.push_back(static_cast<std::uint8_t>(name.size()));
    append(out, as_bytes(name));
  }
  return out;
}

bool is_address(const std::string& name) {
  std::array<std::uint8_t, 16> scratch;
  return ::inet_pton(AF_INET, name.c_str(), scratch.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), scratch.data()) == 1;
}

}  // namespace

struct TlsContext::State {
  TlsOptions options;
  CtxPtr ctx;
  Bytes alpn;
  bool server = false;
};

namespace {

int select_alpn(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                unsigned offered_size, void* arg) {
  const Bytes& ours = *static_cast<const Bytes*>(arg);
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, size, ours.data(), static_cast<unsigned>(ours.size()), offered, offered_size) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

// The verifier decides after the handshake; the handshake itself proves possession of the key only.
int accept_for_now(X509_STORE_CTX*, void*) { return 1; }

Result<std::unique_ptr<TlsContext::State>> make(TlsOptions options, bool server) {
  if (options.trust == TlsTrust::verifier && !options.verifier && (!server || options.require_client_certificate))
    return fail(ErrorCode::invalid_argument, "tls", "TlsTrust::verifier needs a verifier");
  if (server && !options.identity)
    return fail(ErrorCode::invalid_argument, "tls", "a server needs a certificate and its key");
  auto state = std::make_unique<TlsContext::State>();
  state->server = server;
  state->ctx.reset(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
  SSL_CTX* ctx = state->ctx.get();
  if (ctx == nullptr) return bad(ErrorCode::internal, "TLS cannot start");
  SSL_CTX_set_min_proto_version(ctx, options.tls13_only ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_max_cert_list(ctx, static_cast<long>(options.max_certificate_message));
  if (SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1) return bad(ErrorCode::internal, "no ciphers");
  if (!options.groups.empty() && SSL_CTX_set1_groups_list(ctx, options.groups.c_str()) != 1)
    return bad(ErrorCode::invalid_argument, "the list of groups is not understood");
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  if (!options.resumption) {
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 0);
  }
  if (options.identity) {
    CAIRN_CHECK(use_identity(ctx, *options.identity));
    SSL_CTX_compress_certs(ctx, 0);  // for peers that take it (RFC 8879); not an error where none is built in
  }
  CAIRN_TRY(state->alpn, alpn_wire(options.alpn));
  if (!state->alpn.empty() && server) SSL_CTX_set_alpn_select_cb(ctx, select_alpn, &state->alpn);
  if (!state->alpn.empty() && !server)
    SSL_CTX_set_alpn_protos(ctx, state->alpn.data(), static_cast<unsigned>(state->alpn.size()));
  if (!server || options.require_client_certificate) {
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    if (options.trust == TlsTrust::verifier)
      SSL_CTX_set_cert_verify_callback(ctx, accept_for_now, nullptr);
    else
      CAIRN_CHECK(add_roots(ctx, options));
  }
  state->options = std::move(options);
  return state;
}

// ---- the transport that OpenSSL sees: two buffers

struct Transport {
  Bytes in, out;
  std::size_t in_at = 0, in_end = 0;
  bool ended = false;  // the peer's stream ended
};

int transport_read(BIO* bio, char* into, std::size_t size, std::size_t* got) {
  auto& t = *static_cast<Transport*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *got = std::min(size, t.in_end - t.in_at);
  if (*got == 0) {
    if (t.ended) return 0;
    BIO_set_retry_read(bio);
    return -1;
  }
  std::copy_n(t.in.data() + t.in_at, *got, reinterpret_cast<std::uint8_t*>(into));
  t.in_at += *got;
  return 1;
}

int transport_write(BIO* bio, const char* from, std::size_t size, std::size_t* put) {
  auto& t = *static_cast<Transport*>(BIO_get_data(bio));
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(from);
  t.out.insert(t.out.end(), bytes, bytes + size);
  *put = size;
  return 1;
}

long transport_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_EOF) return static_cast<Transport*>(BIO_get_data(bio))->ended ? 1 : 0;
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* transport_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "cairn stream");
    BIO_meth_set_read_ex(m, transport_read);
    BIO_meth_set_write_ex(m, transport_write);
    BIO_meth_set_ctrl(m, transport_control);
    return m;
  }();
  return method;
}

constexpr std::size_t kRecord = 16U << 10;
constexpr std::size_t kSmallRead = kRecord + 512;  // a whole record; grown for streams that prove busy

class TlsOverStream final : public TlsStream {
 public:
  TlsOverStream(StreamPtr inner, std::shared_ptr<const TlsContext> context)
      : inner_(std::move(inner)), context_(std::move(context)), ssl_(SSL_new(context_->state().ctx.get())) {}
  ~TlsOverStream() override { inner_->close(); }

  Task<> handshake(std::string server_name, Milliseconds timeout);

  Task<std::size_t> read_some(std::span<std::uint8_t> into) override {
    for (;;) {
      std::size_t got = 0;
      const int error = decrypt(into, got);
      if (got > 0) co_return got;
      if (error == SSL_ERROR_ZERO_RETURN) co_return 0U;
      if (error != SSL_ERROR_WANT_READ) co_return read_error(error);
      CAIRN_CO_CHECK(co_await receive());
    }
  }

  Task<> write(std::span<const ByteView> pieces) override {
    std::size_t total = 0;
    for (const ByteView piece : pieces) total += piece.size();
    if (total == 0) co_return Result<>{};
    if (pieces.size() > 1 && total <= kRecord) {  // one record instead of several small ones
      Bytes joined;
      joined.reserve(total);
      for (const ByteView piece : pieces) append(joined, piece);
      CAIRN_CO_CHECK(encrypt(joined));
      wipe(joined.data(), joined.size());
      co_return co_await flush();
    }
    for (ByteView piece : pieces) {
      while (!piece.empty()) {
        const ByteView step = piece.first(std::min(piece.size(), limits::kTlsWriteBatch));
        piece = piece.subspan(step.size());
        CAIRN_CO_CHECK(encrypt(step));
        if (transport_.out.size() >= limits::kTlsWriteBatch) CAIRN_CO_CHECK(co_await flush());
      }
    }
    co_return co_await flush();
  }

  Task<> shutdown_write() override {
    ERR_clear_error();
    if (!std::exchange(write_ended_, true)) (void)SSL_shutdown(ssl_.get());
    CAIRN_CO_CHECK(co_await flush());
    co_return co_await inner_->shutdown_write();
  }
  void close() noexcept override { inner_->close(); }
  void set_deadline(std::optional<Milliseconds> duration) override { inner_->set_deadline(duration); }
  Executor loop() const override { return inner_->loop(); }
  const Endpoint& peer() const override { return inner_->peer(); }
  int native_handle() const override { return inner_->native_handle(); }
  const TlsInfo* tls() const override { return &info_; }

  Result<Bytes> export_keying_material(std::string_view label, ByteView context, std::size_t size) const override {
    Bytes out(size);
    if (SSL_export_keying_material(ssl_.get(), out.data(), out.size(), label.data(), label.size(), context.data(),
                                   context.size(), 1) != 1)
      return bad(ErrorCode::crypto_failed, "keying material cannot be exported");
    return out;
  }

 private:
  // As much plain text as is there; the SSL error when that is nothing.
  int decrypt(std::span<std::uint8_t> into, std::size_t& got) {
    while (got < into.size()) {
      std::size_t n = 0;
      ERR_clear_error();
      const int ok = SSL_read_ex(ssl_.get(), into.data() + got, into.size() - got, &n);
      if (ok != 1) return got > 0 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), ok);
      got += n;
      if (transport_.in_at == transport_.in_end && SSL_pending(ssl_.get()) == 0) break;
    }
    return SSL_ERROR_NONE;
  }

  Result<> encrypt(ByteView plain) {
    if (write_ended_) return fail(ErrorCode::internal, "tls", "write() after shutdown_write()");
    std::size_t n = 0;
    ERR_clear_error();
    if (SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &n) != 1 || n != plain.size())
      return bad(ErrorCode::crypto_failed, "encryption failed");
    return {};
  }

  // More ciphertext from below.
  Task<> receive() {
    Transport& t = transport_;
    if (t.in_at == t.in_end) t.in_at = t.in_end = 0;
    if (t.in.empty()) t.in.resize(kSmallRead);
    CAIRN_CO_TRY(const std::size_t n, co_await inner_->read_some(std::span(t.in).subspan(t.in_end)));
    t.in_end += n;
    if (n == 0)
      t.ended = true;
    else if (t.in_end == t.in.size() && t.in.size() < limits::kTlsWriteBatch)
      t.in.resize(limits::kTlsWriteBatch);
    co_return Result<>{};
  }

  // Ciphertext to below. Only the writing side comes here: what reading produces (key updates) waits for the next
  // write, as RFC 8446 §4.6.3 allows.
  Task<> flush() {
    Bytes& out = transport_.out;
    if (out.empty()) co_return Result<>{};
    std::swap(out, sending_);
    Result<> result = co_await inner_->write(ByteView(sending_));
    sending_.clear();
    co_return result;
  }

  std::unexpected<Error> read_error(int error) const {
    if (transport_.ended &&
        (error == SSL_ERROR_SYSCALL || ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
      ERR_clear_error();
      return fail(ErrorCode::unavailable, peer().text(),
                  "the peer ended the connection without closing TLS: the data may be cut");
    }
    return fail(ErrorCode::crypto_failed, peer().text(), "TLS: " + openssl_reason());
  }

  Result<> prepare(const std::string& server_name);
  void collect();
  static void on_message(int outgoing, int, int type, const void* data, std::size_t size, SSL*, void* arg) {
    constexpr std::uint8_t kCompressedCertificate = 25;
    if (outgoing == 0 && type == SSL3_RT_HANDSHAKE && size > 0 &&
        *static_cast<const std::uint8_t*>(data) == kCompressedCertificate)
      static_cast<TlsInfo*>(arg)->certificate_compressed = true;
  }

  StreamPtr inner_;
  std::shared_ptr<const TlsContext> context_;
  Transport transport_;
  SslPtr ssl_;
  Bytes sending_;
  TlsInfo info_;
  bool write_ended_ = false;
};

Result<> TlsOverStream::prepare(const std::string& server_name) {
  const auto& state = context_->state();
  if (!ssl_) return bad(ErrorCode::internal, "TLS cannot start");
  BIO* bio = BIO_new(transport_method());
  if (bio == nullptr) return bad(ErrorCode::internal, "TLS cannot start");
  BIO_set_data(bio, &transport_);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_msg_callback(ssl_.get(), on_message);
  SSL_set_msg_callback_arg(ssl_.get(), &info_);
  if (state.server) {
    SSL_set_accept_state(ssl_.get());
    return {};
  }
  SSL_set_connect_state(ssl_.get());
  info_.server_name = server_name;
  const bool address = is_address(server_name);
  if (!address && !server_name.empty() && SSL_set_tlsext_host_name(ssl_.get(), server_name.c_str()) != 1)
    return bad(ErrorCode::invalid_argument, "the server's name cannot be sent");
  if (state.options.trust == TlsTrust::verifier || !state.options.check_host_name) return {};
  if (server_name.empty())
    return fail(ErrorCode::invalid_argument, "tls", "no name to check the server's certificate against");
  X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl_.get());
  X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const int set = address ? X509_VERIFY_PARAM_set1_ip_asc(parameters, server_name.c_str())
                          : SSL_set1_host(ssl_.get(), server_name.c_str());
  if (set != 1) return bad(ErrorCode::invalid_argument, "the server's name cannot be checked");
  return {};
}

void TlsOverStream::collect() {
  SSL* ssl = ssl_.get();
  info_.version = SSL_get_version(ssl);
  info_.cipher = SSL_get_cipher_name(ssl);
  if (const char* group = SSL_get0_group_name(ssl); group != nullptr) info_.group = group;
  const unsigned char* alpn = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &alpn, &size);
  info_.alpn.assign(reinterpret_cast<const char*>(alpn), size);
  if (context_->state().server)
    if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name); name != nullptr)
      info_.server_name = name;
  const auto add = [&](X509* certificate) {
    Bytes der(static_cast<std::size_t>(std::max(0, i2d_X509(certificate, nullptr))));
    unsigned char* out = der.data();
    if (!der.empty() && i2d_X509(certificate, &out) > 0) info_.peer_chain.push_back(std::move(der));
  };
  X509* leaf = SSL_get0_peer_certificate(ssl);
  if (leaf == nullptr) return;
  add(leaf);
  const STACK_OF(X509)* chain = SSL_get_peer_cert_chain(ssl);
  for (int i = context_->state().server ? 0 : 1; i < sk_X509_num(chain); ++i) add(sk_X509_value(chain, i));
}

Task<> TlsOverStream::handshake(std::string server_name, Milliseconds timeout) {
  CAIRN_CO_CHECK(prepare(server_name));
  inner_->set_deadline(timeout);
  for (;;) {
    ERR_clear_error();
    const int done = SSL_do_handshake(ssl_.get());
    const int error = done == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), done);
    std::string reason;
    if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ) {
      const long verdict = SSL_get_verify_result(ssl_.get());
      reason = verdict != X509_V_OK
                   ? "the certificate does not verify: " + std::string(X509_verify_cert_error_string(verdict))
                   : "the handshake failed: " + openssl_reason();
      ERR_clear_error();
    }
    const Result<> sent = co_await flush();  // an alert, too
    if (!reason.empty()) {
      if (transport_.ended)
        co_return fail(ErrorCode::unavailable, peer().text(), "the peer ended the connection during the TLS handshake");
      co_return fail(ErrorCode::crypto_failed, peer().text(), std::move(reason));
    }
    CAIRN_CO_CHECK(sent);
    if (done == 1) break;
    CAIRN_CO_CHECK(co_await receive());
  }
  inner_->set_deadline(std::nullopt);
  collect();
  const TlsOptions& options = context_->state().options;
  const bool expected = !context_->state().server || options.require_client_certificate;
  if (expected && info_.peer_chain.empty())
    co_return fail(ErrorCode::crypto_failed, peer().text(), "the peer showed no certificate");
  if (expected && options.verifier) CAIRN_CO_CHECK(co_await options.verifier(info_));
  co_return Result<>{};
}

Task<TlsStreamPtr> start(StreamPtr stream, std::shared_ptr<const TlsContext> context, std::string server_name,
                         Milliseconds timeout) {
  auto tls = std::make_unique<TlsOverStream>(std::move(stream), std::move(context));
  CAIRN_CO_CHECK(co_await tls->handshake(std::move(server_name), timeout));
  co_return TlsStreamPtr(std::move(tls));
}

}  // namespace

TlsContext::TlsContext(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsContext::~TlsContext() = default;

Result<std::shared_ptr<const TlsContext>> TlsContext::client(TlsOptions options) {
  CAIRN_TRY(auto state, make(std::move(options), false));
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(state)));
}
Result<std::shared_ptr<const TlsContext>> TlsContext::server(TlsOptions options) {
  CAIRN_TRY(auto state, make(std::move(options), true));
  return std::shared_ptr<const TlsContext>(new TlsContext(std::move(state)));
}

Task<TlsStreamPtr> tls_connect(StreamPtr stream, std::shared_ptr<const TlsContext> context, std::string server_name,
                               Milliseconds timeout) {
  return start(std::move(stream), std::move(context), std::move(server_name), timeout);
}
Task<TlsStreamPtr> tls_accept(StreamPtr stream, std::shared_ptr<const TlsContext> context, Milliseconds timeout) {
  return start(std::move(stream), std::move(context), {}, timeout);
}

std::vector<std::string> certificate_compressions() {
  std::vector<std::string> out;
  const std::pair<const char*, COMP_METHOD*> all[] = {
      {"brotli", COMP_brotli_oneshot()}, {"zlib", COMP_zlib_oneshot()}, {"zstd", COMP_zstd_oneshot()}};
  for (const auto& [name, method] : all)
    if (method != nullptr && COMP_get_type(method) != NID_undef) out.emplace_back(name);
  return out;
}

}  // namespace cairn::net
