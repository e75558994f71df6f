// The first question: through the proxy, streamed, timed, with the loopback interface recorded meanwhile.
#include <algorithm>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/up/impostor.h"
#include "cli/up/owner.h"
#include "cli/up/session.h"
#include "cli/up/wiretap.h"
#include "net/http_client.h"
#include "net/sse.h"

namespace cairn::cli {
namespace {

constexpr net::Milliseconds kAnswerTimeout{300'000};

// One event of an OpenAI stream; returns the piece of text it carries.
std::string delta_of(std::string_view data) {
  const auto json = parse_json(data);
  if (!json) return {};
  const auto* choices = json->is_object() && json->contains("choices") ? &(*json)["choices"] : nullptr;
  if (choices == nullptr || !choices->is_array() || choices->empty()) return {};
  const Json& delta = (*choices)[0].value("delta", Json::object());
  const auto it = delta.find("content");
  return it != delta.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// The gateway says in JSON why it could not reach an attested peer.
std::string cause_of(int status, const std::string& body) {
  if (const auto json = parse_json(body); json && json->is_object()) {
    for (const char* key : {"message", "attestation_error"})
      if (const auto it = json->find(key); it != json->end() && it->is_string() && !it->get<std::string>().empty())
        return it->get<std::string>();
    if (const auto it = json->find("error"); it != json->end()) return it->dump();
  }
  return "HTTP status " + std::to_string(status) + (body.empty() ? "" : ": " + printable(body, 300));
}

net::Task<Answer> stream_answer(Session& s, std::string body, bool show) {
  net::ClientOptions options;
  options.proxy = "http://127.0.0.1:" + std::to_string(s.options.proxy_port);
  options.timeout = kAnswerTimeout;
  net::HttpClient client(options);
  Answer out;
  const std::int64_t started = monotonic_ms();
  net::ClientRequest request{.method = "POST",
                             .url = "http://127.0.0.1:" + std::to_string(s.options.port) + "/v1/chat/completions",
                             .headers = {},
                             .body = std::move(body)};
  request.headers.set("Content-Type", "application/json");
  CAIRN_CO_TRY(auto open, co_await client.open(std::move(request)));
  if (open.head.status != 200) {
    auto text = co_await open.exchange->body(kSmallFileMax);
    const std::string cause = cause_of(open.head.status, text.value_or(""));
    if (open.head.status == 502) co_return s.refuse("peer_not_attested", cause);
    co_return fail(ErrorCode::unavailable, "the inference service", cause);
  }
  net::SseParser parser;
  Bytes chunk(kReadBuffer);
  for (bool end = false; !end;) {
    CAIRN_CO_TRY(const std::size_t n, co_await open.exchange->read_some(chunk));
    if (n == 0) break;
    CAIRN_CO_TRY(const auto events, parser.feed(as_text(ByteView(chunk).first(n))));
    for (const auto& event : events) {
      if (event.data == "[DONE]") {
        end = true;
        break;
      }
      const std::string piece = delta_of(event.data);
      if (piece.empty()) continue;
      if (out.first_token_ms == 0) out.first_token_ms = std::max<std::int64_t>(1, monotonic_ms() - started);
      if (show) s.screen->raw(piece);
      out.text += piece;
    }
    if (s.stopping && s.stopping()) co_return fail(ErrorCode::cancelled, "stopped on request");
  }
  co_return out;
}

// Is there a word of the answer, the prompt, or the form of an answer among the recorded bytes?
bool seen_in_plain(const Wiretap::Recording& recording, const std::string& prompt, const std::string& answer) {
  return holds_piece_of(recording.streams, prompt) || holds_piece_of(recording.streams, answer) ||
         holds_piece_of(recording.streams, "chat.completion.chunk");
}

// Which TLS the client's gateway negotiated with its last peer.
void take_wire(Session& s) {
  const auto status =
      http("GET", "http://127.0.0.1:" + std::to_string(s.client_control_port) + "/status", {}, {}, 2'000);
  const auto json = status ? parse_json(status->body) : Result<Json>(fail(ErrorCode::unavailable, ""));
  if (!json) return;
  // One ingress block: the first object with a last session.
  std::vector<const Json*> todo{&*json};
  while (!todo.empty()) {
    const Json* at = todo.back();
    todo.pop_back();
    if (const auto it = at->is_object() ? at->find("last_session") : at->end(); it != at->end() && it->is_object()) {
      s.outcome.tls_group = it->value("group", "");
      s.outcome.tls_version = it->value("tls", "");
      if (s.outcome.tls_version.starts_with("TLSv")) s.outcome.tls_version.erase(0, 4);
      return;
    }
    if (at->is_structured())
      for (const auto& child : *at) todo.push_back(&child);
  }
}

// Impostors hold the protected port one after the other; each must be refused with nothing received.
Result<void> ask_impostors(Session& s) {
  std::string causes;
  const std::pair<Impostor::Evidence, const char*> kinds[] = {
      {Impostor::Evidence::none, "without evidence"},
      {Impostor::Evidence::of_another_key, "with somebody else's evidence"}};
  for (const auto& [kind, title] : kinds) {
    s.screen->begin(std::string("Gateway ") + title);
    CAIRN_TRY(const auto impostor, Impostor::start(s.options.port, kind, s.agent_socket().string()));
    const auto answer = send_prompt(s, false);
    if (answer || impostor->received() > 0)
      return fail(ErrorCode::internal, "the client's gateway", std::string("the prompt reached a gateway ") + title);
    if (!s.refusal) return fail(answer.error());
    if (impostor->handshakes() == 0)
      return fail(ErrorCode::internal, "the client's gateway", std::string("it never spoke to the gateway ") + title);
    causes += (causes.empty() ? "" : "; ") + std::string(title) + ": " + s.refusal->sentence;
    s.screen->done("refused");
  }
  return s.refuse("peer_not_attested", "The prompt was not sent to a gateway " + causes);
}

}  // namespace

Result<Answer> send_prompt(Session& s, bool show) {
  const Json request = {{"messages", Json::array({{{"role", "user"}, {"content", s.options.prompt}}})},
                        {"stream", true},
                        {"temperature", 0},
                        {"max_tokens", s.options.max_tokens}};
  return net::run_to_end<Answer>([&](net::Runtime&) { return stream_answer(s, request.dump(), show); });
}

Result<void> ask(Session& s) {
  if (s.options.tamper == Tamper::mitm) return ask_impostors(s);
  CAIRN_TRY(const auto tap, Wiretap::start(s.options.port));
  s.screen->heading("Question  " + printable(s.options.prompt, 400));
  s.screen->raw("Answer    ");
  const auto answer = send_prompt(s, true);
  s.screen->raw("\n");
  if (!answer) return fail(answer.error());
  s.outcome.answer = answer->text;
  s.timings.first_token = answer->first_token_ms;
  if (answer->text.empty()) return fail(ErrorCode::unavailable, "the engine", "it answered without a word");
  take_wire(s);
  const auto recording = tap->recording();
  if (recording.bytes == 0)
    return fail(ErrorCode::internal, "lo", "nothing crossed the protected port while the answer arrived");
  if (recording.dropped == 0) s.outcome.plaintext_seen = seen_in_plain(recording, s.options.prompt, answer->text);
  if (s.outcome.plaintext_seen.value_or(false))
    return s.refuse("plaintext_on_the_wire",
                    "Parts of the prompt or the answer crossed the protected port unencrypted.");
  return {};
}

}  // namespace cairn::cli
