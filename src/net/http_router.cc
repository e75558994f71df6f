#include <algorithm>

#include "base/encoding.h"
#include "net/http_server.h"

namespace cairn::net {

namespace {

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> out;
  if (path.starts_with('/')) path.remove_prefix(1);
  for (;;) {
    const auto cut = path.find('/');
    out.emplace_back(path.substr(0, cut));
    if (cut == std::string_view::npos) return out;
    path.remove_prefix(cut + 1);
  }
}

bool is_parameter(std::string_view segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}
bool is_rest(std::string_view segment) { return is_parameter(segment) && segment[segment.size() - 2] == '*'; }

// Each segment decoded once; nothing where a decoded segment could be taken for structure.
std::optional<std::vector<std::string>> decoded_segments(std::string_view path) {
  if (!path.starts_with('/')) return std::nullopt;
  auto segments = split(path);
  for (std::string& s : segments) {
    auto plain = percent_decode(s);
    if (!plain || *plain == "." || *plain == ".." || plain->find('/') != std::string::npos ||
        plain->find('\0') != std::string::npos)
      return std::nullopt;
    s = std::move(*plain);
  }
  return segments;
}

bool matches(const std::vector<std::string>& pattern, const std::vector<std::string>& path) {
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (is_rest(pattern[i])) return i < path.size();
    if (i >= path.size()) return false;
    if (is_parameter(pattern[i]) ? path[i].empty() : pattern[i] != path[i]) return false;
  }
  return pattern.size() == path.size();
}

// Does `a` say more than `b`, both matching the same path? Literals before parameters before remainders.
bool more_specific(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const auto rank = [](const std::string& s) { return is_rest(s) ? 2 : is_parameter(s) ? 1 : 0; };
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    if (rank(a[i]) != rank(b[i])) return rank(a[i]) < rank(b[i]);
  return false;
}

void bind(const std::vector<std::string>& pattern, const std::vector<std::string>& path, Exchange& exchange) {
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (!is_parameter(pattern[i])) continue;
    std::string name = pattern[i].substr(1, pattern[i].size() - 2), value = path[i];
    if (is_rest(pattern[i])) {
      name.pop_back();
      for (std::size_t k = i + 1; k < path.size(); ++k) (value += '/') += path[k];
    }
    exchange.parameters[name] = std::move(value);
  }
}

}  // namespace

Router& Router::add(std::string_view method, std::string_view pattern, Handler handler) {
  routes_.push_back({std::string(method), split(pattern), std::move(handler)});
  return *this;
}

Router& Router::fallback(Handler handler) {
  fallback_ = std::move(handler);
  return *this;
}

Router& Router::mount(std::string_view prefix, const Router& other) {
  auto head = split(prefix);
  if (head.back().empty()) head.pop_back();
  for (const Route& route : other.routes_) {
    Route copy = route;
    copy.segments.insert(copy.segments.begin(), head.begin(), head.end());
    routes_.push_back(std::move(copy));
  }
  return *this;
}

Task<> Router::operator()(Exchange& exchange) const {
  const RequestHead& request = exchange.request();
  const auto path = decoded_segments(request.path());
  const auto serves = [&](const Route& r) {
    return r.method == "*" || r.method == request.method || (r.method == "GET" && request.method == "HEAD");
  };
  const Route* best = nullptr;
  std::string allowed;
  for (const Route& route : routes_) {
    if (!path || !matches(route.segments, *path)) continue;
    if (!serves(route))
      (allowed += allowed.empty() ? "" : ", ") += route.method;
    else if (best == nullptr || more_specific(route.segments, best->segments))
      best = &route;
  }
  if (best != nullptr) {
    bind(best->segments, *path, exchange);
    co_return co_await best->handler(exchange);
  }
  if (!allowed.empty()) {
    Response refused = Response::text(405, "method not allowed");
    refused.headers.set("Allow", allowed);
    co_return co_await exchange.respond(std::move(refused));
  }
  if (fallback_) co_return co_await fallback_(exchange);
  co_return co_await exchange.respond(Response::text(404, "not found"));
}

Handler responder(std::function<Task<Response>(Exchange&)> fn) {
  return [fn = std::move(fn)](Exchange& exchange) -> Task<> {
    CAIRN_CO_TRY(Response response, co_await fn(exchange));
    co_return co_await exchange.respond(std::move(response));
  };
}

}  // namespace cairn::net
