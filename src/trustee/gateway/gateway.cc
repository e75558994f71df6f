#include "trustee/gateway/gateway.h"

#include "base/encoding.h"
#include "trustee/limits.h"

namespace cairn::trustee::gateway {
namespace {

net::Response not_found() { return net::Response::text(404, "404 page not found"); }
net::Response json(int status, const Json& body) { return net::Response::json(status, compact_json(body)); }
net::Response refused(int status, std::string_view text) { return json(status, {{"error", text}}); }

// The claims of a token for the audit log: its payload as text; "" where `jwt` is none or its claims are large.
std::string claims_of(std::string_view jwt) {
  const auto first = jwt.find('.');
  const auto second = first == std::string_view::npos ? first : jwt.find('.', first + 1);
  if (second == std::string_view::npos || second - first > limits::kAuditClaims * 4 / 3) return {};
  const auto payload = from_base64url(jwt.substr(first + 1, second - first - 1));
  return payload ? std::string(as_text(*payload)) : std::string();
}

std::string token_in(const net::Response& response) {
  if (response.status != 200) return {};
  const auto body = parse_json(response.body);
  return body ? text_member(*body, "token").value_or("") : std::string();
}

// GET resources, narrowed to one repository or type.
net::Response filtered(const Call& call, net::Response response) {
  const auto repository = call.head.parameter("repository"), type = call.head.parameter("type");
  if (response.status != 200 || (!repository && !type)) return response;
  const auto all = parse_json(response.body, {.bytes = limits::kReferenceFile});
  if (!all || !all->is_array()) return refused(500, "Failed to parse KBS response");
  Json out = Json::array();
  for (const auto& entry : *all)
    if ((!repository || entry.value("repository_name", "") == *repository) &&
        (!type || entry.value("resource_type", "") == *type))
      out.push_back(entry);
  return json(200, out);
}

net::Response redirect(const Call& call) {
  std::string target(call.path.substr(0, call.path.find_last_not_of('/') + 1));
  if (const auto query = call.head.query(); !query.empty()) target += "?" + std::string(query);
  // Never "//host": that would lead away from here.
  target.erase(0, target.find_first_not_of('/'));
  return {call.head.method == "GET" ? 301 : 307, {{"Location", "/" + target}}, {}};
}

net::Response preflight() {
  return {204,
          {{"Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"},
           {"Access-Control-Allow-Headers", "Authorization, Content-Type, Attestation, AAInstanceInfo"},
           {"Access-Control-Max-Age", "600"}},
          {}};
}

}  // namespace

net::Response Gateway::handle(const Call& call, const std::string& client_ip) {
  const bool from_browser = cors_ && call.head.headers.has("Origin");
  auto response = from_browser && call.head.method == "OPTIONS" ? preflight() : route(call, client_ip);
  if (from_browser) response.headers.set("Access-Control-Allow-Origin", "*");
  return response;
}

net::Response Gateway::route(const Call& call, const std::string& client_ip) {
  std::string_view path = call.path;
  const auto root = take_segment(path);
  const bool get = call.head.method == "GET";
  if (root == "livez" && path.empty()) return get ? net::Response::text(200, "ok") : net::Response::empty(405);
  if (root == "metrics" && path.empty() && get && parts_.metrics)
    return {200, {{"Content-Type", "text/plain; version=0.0.4"}}, parts_.metrics(call.now)};
  if (root != "api") return not_found();
  const auto service = take_segment(path);
  const Call inner{call.head, path, call.body, call.now, call.pending};
  if (service == "rvps") return parts_.rvps(inner);
  if (call.path.ends_with('/')) return redirect(call);
  if (service == "kbs" && take_segment(path) == "v0")
    return kbs({call.head, path, call.body, call.now, call.pending}, client_ip);
  if (service == "attestation-service" || service == "as") return attestation_service(inner, client_ip);
  if (service == "health" && inner.path.empty() && get) return json(200, {{"status", "ok"}});
  if (service == "services-health" && inner.path.empty() && get) return health(call.now);
  const auto rest = segments(inner.path);
  if (rest.size() != 1) return not_found();
  if (service == "aa-instance" && rest[0] == "heartbeat" && call.head.method == "POST")
    return heartbeat(call, client_ip);
  if (service == "aa-instance" && rest[0] == "list" && get) {
    const auto list = audit_->instances(call.now);
    return list ? json(200, *list) : refused(500, "Failed to list instances");
  }
  if (service == "audit" && rest[0] == "attestation" && get) {
    const auto page = audit_->attestations(call.head);
    return page ? json(200, *page) : refused(500, "Failed to list attestation records");
  }
  if (service == "audit" && rest[0] == "resources" && get) {
    const auto page = audit_->resources(call.head);
    return page ? json(200, *page) : refused(500, "Failed to list resource requests");
  }
  return not_found();
}

net::Response Gateway::kbs(const Call& call, const std::string& client_ip) {
  std::string_view argument = call.path;
  const auto operation = take_segment(argument);
  auto response = parts_.kbs(call);
  if (call.waits()) return response;  // not the answer yet
  const auto session = call.head.cookie("kbs-session-id").value_or("");
  if (operation == "attest" && call.head.method == "POST")
    audit_->record(AttestationRecord{client_ip, session, claims_of(token_in(response)), "kbs", response.status,
                                     call.now, instance_info(call.head)});
  if (operation == "resource") {
    auto parts = segments(argument);
    parts.resize(3);
    audit_->record(ResourceRecord{client_ip, session, std::string(parts[0]), std::string(parts[1]),
                                  std::string(parts[2]), call.head.method, response.status, call.now,
                                  instance_info(call.head)});
  }
  if (operation == "resources") return filtered(call, std::move(response));
  return response;
}

net::Response Gateway::attestation_service(const Call& call, const std::string& client_ip) {
  std::string_view path = call.path;
  auto response = parts_.as(call);
  if (call.waits()) return response;
  if (take_segment(path) == "attestation" && call.head.method == "POST")
    audit_->record(AttestationRecord{client_ip, "",
                                     response.status == 200 ? claims_of(response.body) : response.body.substr(0, 1024),
                                     "attestation-service", response.status, call.now, instance_info(call.head)});
  return response;
}

// Members in this order, as dashboards show them.
net::Response Gateway::health(Time now) {
  const auto entry = [&](std::string_view name, const std::string& trouble) {
    std::string out = "\"" + std::string(name) + "\":{\"status\":\"" + (trouble.empty() ? "ok" : "error") + "\"";
    if (!trouble.empty()) out += ",\"message\":" + compact_json(Json(trouble));
    return out + ",\"timestamp\":\"" + rfc3339(now) + "\"}";
  };
  const auto probe = [&](const Part& part, const char* method, const char* path, std::string_view body) {
    net::RequestHead head;
    head.method = method;
    head.target = path;
    return part({head, path, body, now});
  };
  const auto kbs = probe(parts_.kbs, "POST", "/auth", R"({"version":"0.1.0","tee":"sample","extra-params":"foo"})");
  const auto as = probe(parts_.as, "GET", "/certificate", "");
  const auto rvps = probe(parts_.rvps, "GET", "/query", "");
  const std::string as_trouble =
      as.status == 200
          ? ""
          : "as certificate request failed with status: " + std::to_string(as.status) + ", body: " + as.body;
  return net::Response::json(200, "{" + entry("gateway", "") + "," +
                                      entry("kbs", kbs.status == 200 ? "" : "kbs auth request failed") + "," +
                                      entry("as", as_trouble) + "," +
                                      entry("rvps", rvps.status == 200 ? "" : "rvps query failed: " + rvps.body) + "}");
}

net::Response Gateway::heartbeat(const Call& call, const std::string& client_ip) {
  const auto instance = required_instance_info(call.head);
  if (!instance) return refused(400, instance.error().message);
  if (auto kept = audit_->heartbeat(*instance, client_ip, call.now); !kept) return refused(500, kept.error().message);
  return json(200, {{"status", "ok"}, {"timestamp", rfc3339(call.now)}});
}

}  // namespace cairn::trustee::gateway
