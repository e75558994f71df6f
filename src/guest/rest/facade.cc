#include "guest/rest/facade.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/json.h"
#include "base/log.h"

namespace cairn::rest {
namespace {

using net::Response;
using net::asio::awaitable;
using Query = std::vector<std::pair<std::string, std::string>>;

constexpr JsonLimits kBodyJson{.bytes = 8U << 20, .depth = 8};

Response plain(int status, std::string_view text = {}) {
  return text.empty() ? Response::empty(status) : Response{status, {{"Content-Type", "text/plain"}}, std::string(text)};
}
Response not_found() { return plain(404, "URL NOT FOUND"); }
Response not_allowed() { return plain(405, "Method Not Allowed"); }
Response bad_request() { return plain(400, "BAD REQUEST"); }
Response octets(std::string body) { return {200, {{"Content-Type", "application/octet-stream"}}, std::move(body)}; }

Response failed(const Error& error) {
  spdlog::error("{}", error.text());
  return plain(500, error.text());
}
Response from(Result<std::string> text) { return text ? octets(*std::move(text)) : failed(text.error()); }
Response from(Result<Secret> secret) {
  return secret ? octets(std::string(as_text(secret->view()))) : failed(secret.error());
}
Response from(const Result<void>& done) { return done ? plain(200) : failed(done.error()); }

std::vector<std::string_view> segments(std::string_view path) {
  std::vector<std::string_view> out;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::size_t slash = std::min(path.find('/'), path.size());
    out.push_back(path.substr(0, slash));
    path.remove_prefix(slash);
  }
  return out;
}

const std::string* value_of(const Query& query, std::string_view name) {
  const auto found = std::ranges::find(query, name, &Query::value_type::first);
  return found == query.end() ? nullptr : &found->second;
}

// Runtime data of an evidence request; P2 lets it come as base64url.
Result<Bytes> runtime_data(const Query& query, const std::string& text) {
  const std::string* encoding = value_of(query, "encoding");
  if (encoding == nullptr) return to_bytes(text);
  if (*encoding != "base64") return fail(ErrorCode::invalid_argument, "encoding", "only base64 is known");
  return from_base64_lenient(text);
}

// One asked-for parameter, and in P2 an encoding. nullptr and a response where the originals refuse.
const std::string* only_parameter(const Query& query, std::string_view name, bool with_encoding, Response& refusal) {
  const std::size_t extra = with_encoding && value_of(query, "encoding") != nullptr ? 1 : 0;
  if (query.size() != 1 + extra) {
    refusal = not_allowed();
    return nullptr;
  }
  const std::string* value = value_of(query, name);
  if (value == nullptr) refusal = bad_request();
  return value;
}

awaitable<Response> post_event(const Request& request, Backend& backend) {
  const auto json = parse_json(request.body, kBodyJson);
  if (!json) co_return bad_request();
  Problems problems;
  Fields fields(*json, "$", problems);
  auto domain = fields.required<std::string>("domain");
  auto operation = fields.required<std::string>("operation");
  auto content = fields.required<std::string>("content");
  const auto pcr = fields.optional<std::uint64_t>("register_index");
  fields.done();
  if (const auto fine = problems.result(); !fine) co_return plain(400, fine.error().message);
  co_return from(co_await backend.extend(std::move(domain), std::move(operation), std::move(content), pcr));
}

awaitable<Response> answer_aa(const Request& request, const Rules& rules, Backend& backend,
                              const std::vector<std::string_view>& parts) {
  const bool p2 = rules.profile == kbs::Profile::p2;
  const auto is = [&](std::string_view name) { return parts.size() == 2 && parts[1] == name; };
  const bool evidence = is("evidence") || (p2 && is("additional-evidence"));
  if (!request.loopback && !(p2 && evidence && rules.remote_evidence)) co_return plain(403, "Forbidden");
  if (p2 && is("aael") && request.method == "POST") co_return co_await post_event(request, backend);
  if (request.method != "GET") co_return not_allowed();
  const auto query = net::parse_query(request.query);
  if (!query) co_return bad_request();
  Response refusal;
  if (is("token")) {
    const std::string* type = only_parameter(*query, "token_type", false, refusal);
    if (type == nullptr) co_return refusal;
    co_return from(co_await backend.token(*type));
  }
  if (evidence) {
    const std::string* text = only_parameter(*query, "runtime_data", p2, refusal);
    if (text == nullptr) co_return refusal;
    auto data = runtime_data(*query, *text);
    if (!data) co_return bad_request();
    if (is("evidence")) co_return from(co_await backend.evidence(*std::move(data)));
    co_return from(co_await backend.additional_evidence(*std::move(data)));
  }
  co_return query->size() == 1 ? not_found() : not_allowed();
}

awaitable<Response> prepare(const Request& request, std::string path, Backend& backend) {
  const auto json = parse_json(request.body, kBodyJson);
  if (!json || !json->is_object() || !json->value("nonce", Json()).is_string()) co_return bad_request();
  auto done = co_await backend.prepare_injection({std::move(path), (*json)["nonce"]});
  if (!done) co_return failed(done.error());
  const auto key = parse_json(done->tee_pubkey);
  co_return Response::json(200, compact_json({{"session_id", done->session_id},
                                              {"nonce", done->nonce},
                                              {"tee_pubkey", key.value_or(Json(done->tee_pubkey))},
                                              {"evidence", base64(done->evidence)}}));
}

awaitable<Response> commit(const Request& request, std::string path, Backend& backend) {
  const auto json = parse_json(request.body, kBodyJson);
  if (!json || !json->is_object() || !json->value("session_id", Json()).is_string() ||
      !json->contains("encrypted_resource"))
    co_return bad_request();
  const Json& resource = (*json)["encrypted_resource"];
  const std::string text = resource.is_string() ? resource.get<std::string>() : compact_json(resource);
  co_return from(co_await backend.commit_injection({(*json)["session_id"], std::move(path), to_bytes(text)}));
}

awaitable<Response> answer_cdh(const Request& request, const Rules& rules, Backend& backend,
                               const std::vector<std::string_view>& parts) {
  const bool injection = rules.profile == kbs::Profile::p2 && parts.size() >= 2 && parts[1] == "resource-injection";
  if (!request.loopback && !(injection && rules.remote_injection)) co_return plain(403, "Forbidden");
  const auto name_from = [&](std::size_t first) {
    return std::string(parts[first]) + "/" + std::string(parts[first + 1]) + "/" + std::string(parts[first + 2]);
  };
  if (injection && request.method == "POST" && parts.size() == 6) {
    if (parts[2] == "prepare") co_return co_await prepare(request, name_from(3), backend);
    if (parts[2] == "commit") co_return co_await commit(request, name_from(3), backend);
  }
  if (request.method != "GET") co_return not_allowed();
  if (parts.size() < 2) co_return plain(404);
  if (parts[1] != "resource" || parts.size() != 5) co_return not_found();
  co_return from(co_await backend.resource("kbs:///" + name_from(2)));
}

awaitable<Response> answer_info(const Request& request, const Rules& rules, Backend& backend) {
  if (!request.loopback && !rules.remote_evidence) co_return plain(403, "Forbidden");
  if (request.method != "GET") co_return not_allowed();
  const auto tee = co_await backend.tee_type();
  if (!tee) co_return failed(tee.error());
  const auto more = co_await backend.additional_tees();
  co_return Response::json(200, compact_json({{"version", rules.version},
                                              {"tee", *tee},
                                              {"additional_tees", more.value_or(std::vector<std::string>{})}}));
}

}  // namespace

awaitable<Response> answer(const Request& request, const Rules& rules, Backend& backend) {
  const auto parts = segments(request.path);
  const std::string_view root = parts.empty() ? std::string_view() : parts[0];
  if (root == "aa" && rules.aa) co_return co_await answer_aa(request, rules, backend, parts);
  if (root == "cdh" && rules.cdh) co_return co_await answer_cdh(request, rules, backend, parts);
  if (root == "info" && parts.size() == 1 && rules.aa && rules.profile == kbs::Profile::p2)
    co_return co_await answer_info(request, rules, backend);
  co_return plain(404);
}

bool is_loopback(std::string_view host) {
  if (host.starts_with("::ffff:")) host.remove_prefix(7);
  return host.starts_with("127.") || host == "::1";
}

}  // namespace cairn::rest
