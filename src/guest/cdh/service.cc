#include "guest/cdh/service.h"

#include "base/log.h"
#include "kbs_protocol/proto.h"

namespace cairn::cdh {
namespace {

using net::RpcReply;
using net::asio::awaitable;

std::unexpected<net::RpcStatus> status(net::RpcCode code, std::string text) {
  return std::unexpected(net::RpcStatus{code, std::move(text)});
}

// One method: `run` takes the decoded request and gives the response message or an Error.
template <class Request, class Run>
void method(net::TtrpcServer& server, std::string_view service, std::string name, std::string error_text, Run run) {
  server.add(std::string(service), name, [name, error_text, run](net::TtrpcCall call) -> awaitable<RpcReply> {
    auto request = proto::decode<Request>(call.payload);
    if (!request) co_return status(net::RpcCode::invalid_argument, request.error().text());
    auto response = co_await run(*std::move(request));
    if (!response) {
      spdlog::error("{}: {}", name, response.error().text());
      co_return status(net::RpcCode::internal, error_text);
    }
    co_return proto::encode(*response);
  });
}

net::Task<api::BytesMessage> as_message(net::Task<Secret> task) {
  CAIRN_CO_TRY(const Secret secret, co_await std::move(task));
  co_return api::BytesMessage{to_bytes(secret.view())};
}

void register_key_provider(net::TtrpcServer& server, Hub& hub) {
  server.add(std::string(api::key_provider_service), "UnWrapKey", [&hub](net::TtrpcCall call) -> awaitable<RpcReply> {
    auto request = proto::decode<api::BytesMessage>(call.payload);
    if (!request) co_return status(net::RpcCode::invalid_argument, request.error().text());
    auto output = co_await as_message(hub.unwrap_key(std::move(request->value)));
    if (output) co_return proto::encode(*output);
    spdlog::error("UnWrapKey: {}", output.error().text());
    const bool unparsable = output.error().code == ErrorCode::malformed;
    co_return status(net::RpcCode::internal,
                     unparsable ? "[ERROR] UnwrapKey Parse request failed" : "[CDH] [ERROR]: UnwrapKey failed");
  });
}

}  // namespace

void register_services(net::TtrpcServer& server, Hub& hub) {
  method<api::BytesMessage>(
      server, api::sealed_secret_service, "UnsealSecret", "[CDH] [ERROR]: Unseal Secret failed",
      [&hub](api::BytesMessage request) { return as_message(hub.unseal(std::string(as_text(request.value)))); });
  method<api::GetResourceRequest>(
      server, api::resource_service, "GetResource", "[CDH] [ERROR]: Get Resource failed",
      [&hub](api::GetResourceRequest request) { return as_message(hub.resource(std::move(request.resource_path))); });
  method<api::PrepareInjectionRequest>(
      server, api::resource_service, "PrepareResourceInjection", "[CDH] [ERROR]: Prepare Resource Injection failed",
      [&hub](api::PrepareInjectionRequest r) { return hub.prepare_injection(std::move(r)); });
  method<api::CommitInjectionRequest>(server, api::resource_service, "CommitResourceInjection",
                                      "[CDH] [ERROR]: Commit Resource Injection failed",
                                      [&hub](api::CommitInjectionRequest request) -> net::Task<api::Empty> {
                                        CAIRN_CO_CHECK(hub.commit_injection(request));
                                        co_return api::Empty{};
                                      });
  method<api::SecureMountRequest>(server, api::mount_service, "SecureMount", "[CDH] [ERROR]: secure mount failed",
                                  [&hub](api::SecureMountRequest request) -> net::Task<api::SecureMountResponse> {
                                    CAIRN_CO_TRY(std::string path, hub.secure_mount(request));
                                    co_return api::SecureMountResponse{std::move(path)};
                                  });
  method<api::ImagePullRequest>(server, api::image_service, "PullImage", "[CDH] [ERROR]: pull image failed",
                                [](api::ImagePullRequest) -> net::Task<api::Empty> {
                                  co_return fail(ErrorCode::unsupported, "PullImage",
                                                 "this data hub does not pull images");
                                });
  register_key_provider(server, hub);
}

}  // namespace cairn::cdh
