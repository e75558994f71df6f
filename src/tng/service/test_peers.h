// For tests and benches: an attestation agent (real ttrpc) and an attestation service (real HTTP, real signed tokens)
// that agree on a toy TEE "sample" whose evidence is the report data itself, and which can be told to misbehave.
#pragma once

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "crypto/hash.h"
#include "crypto/jose.h"
#include "crypto/x509.h"
#include "kbs_protocol/agent_api.h"
#include "kbs_protocol/proto.h"
#include "net/http_server.h"
#include "net/ttrpc.h"

namespace cairn::tng::testing {

inline net::asio::awaitable<net::RpcReply> reply(Bytes bytes) { co_return net::RpcReply(std::move(bytes)); }

class FakeAgent {
 public:
  FakeAgent(net::Runtime& runtime, std::filesystem::path socket) : socket_(std::move(socket)), server_(runtime) {
    server_.add(std::string(agent::service_name), "GetTeeType",
                [](net::TtrpcCall) { return reply(proto::encode(agent::TeeTypeResponse{"sample"})); });
    server_.add(std::string(agent::service_name), "GetEvidence", [this](net::TtrpcCall call) {
      ++calls;
      Bytes data = proto::decode<agent::RuntimeDataRequest>(call.payload)->runtime_data;
      if (lie) data.back() ^= 1;
      std::string text = compact_json({{"report_data", base64(data)}, {"padding", std::string(padding, 'x')}});
      if (!replay.empty()) text = replay;
      last = text;
      return reply(proto::encode(agent::EvidenceResponse{to_bytes(text)}));
    });
  }
  [[nodiscard]] Result<net::Endpoint> listen() { return server_.listen(net::Endpoint::local(socket_)); }
  [[nodiscard]] net::Task<> stop() { return server_.stop(net::Milliseconds(0)); }
  [[nodiscard]] std::string address() const { return "unix://" + socket_.string(); }

  std::atomic<int> calls{0};
  bool lie = false;         // evidence about other data than was asked for
  std::size_t padding = 0;  // makes the evidence, and so the certificate, large
  std::string replay;       // this evidence instead, whatever is asked for
  std::string last;

 private:
  std::filesystem::path socket_;
  net::TtrpcServer server_;
};

class FakeService {
 public:
  explicit FakeService(net::Runtime& runtime)
      : ca_key_(*crypto::PrivateKey::generate(crypto::KeyType::ec_p256)),
        key_(*crypto::PrivateKey::generate(crypto::KeyType::rsa, 2048)),
        server_(runtime, net::responder([this](net::Exchange& e) { return answer(e); }), options()) {
    crypto::CertificateTemplate root;
    root.subject = {{"CN", "Test token authority"}};
    root.not_before = now().plus(-3600);
    root.not_after = now().plus(3600);
    root.ca = true;
    root.key_usage = crypto::kKeyCertSign;
    ca_ = *crypto::issue(root, ca_key_.public_key(), ca_key_);
    crypto::CertificateTemplate leaf = root;
    leaf.issuer = root.subject;
    leaf.subject = {{"CN", "Test token signer"}};
    leaf.ca = false;
    leaf.key_usage = crypto::kDigitalSignature;
    leaf_ = *crypto::issue(leaf, key_.public_key(), ca_key_);
  }
  [[nodiscard]] Result<void> listen() {
    CAIRN_TRY(const auto at, server_.listen(net::Endpoint::tcp("127.0.0.1", 0)));
    address_ = "http://" + at.text() + "/as/";
    return {};
  }
  [[nodiscard]] net::Task<> stop() { return server_.stop(net::Milliseconds(0)); }
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] std::string ca_pem() const { return ca_->pem(); }

  std::atomic<int> calls{0};
  int status = 200;                    // another answer than a token
  std::string policy;                  // another policy id than the one asked for
  std::int64_t lifetime = 300;         // negative: expired tokens
  Json extra_claims = Json::object();  // merged into the claims

  // What POST /attestation answers to this request.
  [[nodiscard]] Result<std::string> token(const Json& request) {
    CAIRN_TRY(const Bytes evidence_text, from_base64url(request.at("evidence").get<std::string>()));
    CAIRN_TRY(const Json evidence, parse_json(as_text(evidence_text)));
    const Json runtime = request.at("runtime_data").at("structured");
    CAIRN_TRY(const Bytes report, from_base64(evidence.at("report_data").get<std::string>()));
    if (!equal(crypto::sha384(as_bytes(compact_json(runtime))).view(), report))
      return fail(ErrorCode::evidence_rejected, "REPORT_DATA is different from the hash of the runtime data");
    Json reports = Json::array();
    for (const auto& id : request.at("policy_ids"))
      reports.push_back({{"policy-id", policy.empty() ? id : Json(policy)}, {"policy-hash", "00"}});
    Json claims = {{"tee", request.at("tee")},
                   {"evaluation-reports", reports},
                   {"tcb-status", "{\"sample.svn\":\"1\"}"},
                   {"customized_claims", {{"runtime_data", runtime}, {"init_data", nullptr}}},
                   {"iat", now().seconds},
                   {"exp", now().seconds + lifetime}};
    claims.update(extra_claims);
    const Json header = {{"jwk", crypto::emit_jwk(key_.public_key(), "RS384", {*leaf_, *ca_})}};
    return crypto::sign_jws(header, as_bytes(compact_json(claims)), key_, crypto::JwsAlg::rs384);
  }

 private:
  static net::ServerOptions options() {
    net::ServerOptions out;
    out.max_body = 8U << 20;
    return out;
  }
  net::Task<net::Response> answer(net::Exchange& exchange) {
    ++calls;
    if (exchange.request().target != "/as/attestation") co_return net::Response::text(404, "no such thing");
    CAIRN_CO_TRY(const std::string body, co_await exchange.body());
    CAIRN_CO_TRY(const Json request, parse_json(body));
    if (status != 200) co_return net::Response::text(status, "the service is told to refuse");
    auto made = token(request);
    if (!made) co_return net::Response::text(400, made.error().message);
    co_return net::Response::text(200, *made);
  }

  crypto::PrivateKey ca_key_, key_;
  std::optional<crypto::Certificate> ca_, leaf_;
  net::HttpServer server_;
  std::string address_;
};

}  // namespace cairn::tng::testing
