// A key broker for tests: checks what a real one checks of the wire (session, binding of the evidence to nonce and key,
// profile) and can be told to misbehave. Sample evidence only.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "base/encoding.h"
#include "base/file.h"
#include "base/json.h"
#include "crypto/hash.h"
#include "crypto/jose.h"
#include "crypto/random.h"
#include "kbs_protocol/client.h"
#include "net/http_server.h"

namespace cairn::kbs {

struct MockKbs {
  Profile profile = Profile::p1;
  std::string extra_params;                      // of challenges
  std::map<std::string, std::string> resources;  // path -> plaintext
  std::string token = "eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln";
  // Misbehaviour
  std::atomic<int> auth_failures = 0;          // answer this many auths with 503
  std::atomic<int> forget_sessions = 0;        // answer this many resource requests with 401
  std::string refuse_attest, refuse_resource;  // type of the refusal
  int refuse_status = 403;
  std::function<void(Json&)> tamper;  // the encrypted answer
  // What was seen
  std::atomic<int> auths = 0, attests = 0, gets = 0;
  std::string instance_info, authorization, attestation_header, version_seen;
  Json last_attest;

  struct Session {
    std::string nonce;
    Json key;
    bool attested = false;
  };
  std::map<std::string, Session> sessions;

  static net::Response refusal(int status, std::string_view type, std::string_view detail) {
    return {status,
            {},
            compact_json({{"type", "https://github.com/confidential-containers/kbs/errors/" + std::string(type)},
                          {"detail", detail}})};
  }

  net::Response auth(net::Exchange& exchange, const std::string& body) {
    ++auths;
    if (auth_failures > 0 && auth_failures-- > 0) return {503, {}, "starting"};
    const auto json = parse_json(body);
    if (!json) return refusal(500, "AttestationError", "bad body");
    version_seen = (*json)["version"];
    if (version_seen != protocol_version(profile))
      return refusal(500, "AttestationError",
                     "KBS Client Protocol Version Mismatch: expect =" + std::string(protocol_version(profile)) +
                         " while the request is " + version_seen);
    authorization = exchange.request().headers.get("Authorization").value_or("");
    const std::string id = hex(crypto::random_bytes(16));
    Session session{.nonce = base64(crypto::random_bytes(32)), .key = {}};
    auto response = net::Response::json(200, compact_json({{"nonce", session.nonce}, {"extra-params", extra_params}}));
    response.headers.add("Set-Cookie", "kbs-session-id=" + id);
    sessions[id] = std::move(session);
    return response;
  }

  Session* session_of(net::Exchange& exchange) {
    const auto id = exchange.request().cookie("kbs-session-id");
    const auto found = id ? sessions.find(*id) : sessions.end();
    return found == sessions.end() ? nullptr : &found->second;
  }

  net::Response attest(net::Exchange& exchange, const std::string& body) {
    ++attests;
    Session* session = session_of(exchange);
    if (session == nullptr) return refusal(500, "AttestationError", "no session");
    if (!refuse_attest.empty()) return refusal(500, refuse_attest, "RCAR handshake Attest failed");
    instance_info = exchange.request().headers.get("AAInstanceInfo").value_or("");
    last_attest = *parse_json(body);
    const bool p1 = profile == Profile::p1;
    session->key = p1 ? last_attest["tee-pubkey"] : last_attest["runtime-data"]["tee-pubkey"];
    const std::string devices = p1 ? "" : last_attest["tee-evidence"]["additional_evidence"].get<std::string>();
    const Challenge challenge{.nonce = session->nonce};
    const auto text = runtime_data(profile, challenge, session->key, devices);
    const Json evidence = p1 ? *parse_json(last_attest["tee-evidence"].get<std::string>())
                             : last_attest["tee-evidence"]["primary_evidence"];
    if (evidence["report_data"] != Json(base64(crypto::sha384(as_bytes(*text)).view())))
      return refusal(500, "AttestationError", "report data does not match");
    if (!devices.empty() &&
        (*parse_json(devices))["sampledevice"]["report_data"] !=
            Json(base64(crypto::sha384(as_bytes(*device_runtime_data(challenge, session->key))).view())))
      return refusal(500, "AttestationError", "device report data does not match");
    session->attested = true;
    return net::Response::json(200, compact_json({{"token", token}}));
  }

  net::Response resource(net::Exchange& exchange) {
    ++gets;
    attestation_header = exchange.request().headers.get("Attestation").value_or("");
    Session* session = session_of(exchange);
    if (forget_sessions > 0 && forget_sessions-- > 0) session = nullptr;
    if (session == nullptr || !session->attested) return refusal(401, "TokenNotFound", "Attestation Token not found");
    if (!refuse_resource.empty()) return refusal(refuse_status, refuse_resource, "Access denied by policy");
    const auto found = resources.find(exchange.parameter("rest"));
    if (found == resources.end()) return refusal(404, "NotFound", "no such resource");
    auto answer =
        crypto::encrypt_answer(session->key, as_bytes(found->second),
                               profile == Profile::p1 ? crypto::AnswerForm::kbs_0_1_0 : crypto::AnswerForm::rfc7516);
    if (!answer) return refusal(400, "JweError", answer.error().text());
    if (tamper) tamper(*answer);
    return net::Response::json(200, compact_json(*answer));
  }

  net::Router router() {
    net::Router r;
    const auto with_body = [this](net::Response (MockKbs::*handler)(net::Exchange&, const std::string&)) {
      return net::responder([this, handler](net::Exchange& exchange) -> net::Task<net::Response> {
        CAIRN_CO_TRY(const std::string body, co_await exchange.body());
        co_return (this->*handler)(exchange, body);
      });
    };
    r.add("POST", "/api/kbs/v0/auth", with_body(&MockKbs::auth));
    r.add("POST", "/api/kbs/v0/attest", with_body(&MockKbs::attest));
    r.add("GET", "/api/kbs/v0/resource/{rest*}",
          net::responder([this](net::Exchange& e) -> net::Task<net::Response> { co_return resource(e); }));
    return r;
  }
};

// Sample evidence made in process.
struct SampleEvidence final : EvidenceProvider {
  bool device = false;
  std::atomic<int> asked = 0;
  net::Task<std::string> tee_type() override { co_return std::string("sample"); }
  net::Task<std::string> evidence(Bytes data) override {
    ++asked;
    co_return compact_json({{"svn", "1"}, {"report_data", base64(data)}});
  }
  net::Task<std::string> additional_evidence(Bytes data) override {
    if (!device) co_return std::string();
    co_return compact_json({{"sampledevice", {{"svn", "2"}, {"report_data", base64(data)}}}});
  }
};

// Runs `test` against a mock on a free port of 127.0.0.1; the argument is the base URL.
inline Result<> with_mock(MockKbs& mock, std::function<net::Task<>(net::Runtime&, std::string)> test) {
  return net::run_task([&](net::Runtime& runtime) -> net::Task<> {
    net::HttpServer server(runtime, mock.router());
    CAIRN_CO_TRY(const auto bound, server.listen(net::Endpoint::tcp("127.0.0.1", 0)));
    auto outcome = co_await test(runtime, "http://127.0.0.1:" + std::to_string(bound.port) + "/api");
    CAIRN_CO_CHECK(co_await server.stop(net::Milliseconds(100)));
    co_return outcome;
  });
}

// A file of the RCAR vectors, null where it is missing.
inline Json vector_file(const char* name) {
  const auto path = std::filesystem::path(CAIRN_SHARED_DATA) / "guest/rcar" / name;
  return std::filesystem::exists(path) ? *parse_json(*read_text(path)) : Json();
}

}  // namespace cairn::kbs
