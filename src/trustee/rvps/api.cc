#include "trustee/rvps/api.h"

#include <spdlog/spdlog.h>

#include "base/encoding.h"
#include "net/http.h"
#include "trustee/rvps/extract.h"

namespace cairn::trustee::rvps {
namespace {

net::Response refused(int status, std::string_view text) {
  return net::Response::json(status, compact_json({{"error", text}}));
}

}  // namespace

net::Response Api::query(Time now) const {
  return net::Response::json(200, compact_json(store_->snapshot(now)->values));
}

net::Response Api::register_message(std::string_view message, Time now) {
  const auto registration = extract(message, now);
  if (!registration) return refused(400, "Register reference value: " + registration.error().text());
  if (auto put = store_->put(registration->values, registration->mode, now); !put)
    return refused(put.error().code == ErrorCode::io_failed ? 500 : 400,
                   "Register reference value: " + put.error().text());
  spdlog::info("registered {} reference values", registration->values.size());
  return net::Response::empty(200);
}

net::Response Api::handle(const Call& call) {
  const auto parts = segments(call.path);
  if (parts.size() == 1 && parts[0] == "query" && call.head.method == "GET") return query(call.now);
  if (auto admin = admin_->check(call.head, call.now); !admin) return admin_refused(admin.error());
  return handle_admin(call);
}

net::Response Api::handle_admin(const Call& call) {
  std::string_view rest = call.path;
  const auto operation = take_segment(rest);
  const auto& method = call.head.method;
  if (operation == "query" && rest.empty() && method == "GET") return query(call.now);
  if (operation == "register" && method == "POST") {
    const auto body = parse_json(call.body);
    const auto message = body ? text_member(*body, "message") : std::nullopt;
    if (!message) return refused(400, "Invalid request format");
    return register_message(*message, call.now);
  }
  if (operation == "delete" && method == "DELETE") {
    if (rest.starts_with('/')) rest.remove_prefix(1);
    if (rest.empty()) return refused(400, "Reference value name is required");
    const auto name = percent_decode(rest);
    if (!name) return refused(400, "Reference value name is not well encoded");
    if (auto removed = store_->remove(*name); !removed)
      return refused(removed.error().code == ErrorCode::not_found ? 404 : 500, removed.error().message);
    return net::Response::empty(200);
  }
  return refused(501, "this operation of the reference value provider is not implemented");
}

net::Response Api::handle_upstream(const Call& call) {
  std::string_view name = call.path;
  if (name.starts_with('/')) name.remove_prefix(1);
  if (call.head.method == "POST" && name.empty()) return register_message(call.body, call.now);
  if (call.head.method != "GET" || name.empty()) return net::Response::empty(405);
  const auto decoded = percent_decode(name);
  const auto snapshot = store_->snapshot(call.now);
  const auto found = decoded ? snapshot->values.find(*decoded) : snapshot->values.end();
  if (found == snapshot->values.end()) return refused(404, "there is no such reference value");
  return net::Response::json(200, compact_json(*found));
}

}  // namespace cairn::trustee::rvps
