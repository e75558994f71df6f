#include "guest/aa/service.h"

#include "base/log.h"
#include "kbs_protocol/agent_api.h"
#include "kbs_protocol/proto.h"

namespace cairn::aa {
namespace {

using net::RpcReply;
using net::asio::awaitable;

std::unexpected<net::RpcStatus> undecodable(const Error& error) {
  return std::unexpected(net::RpcStatus{net::RpcCode::invalid_argument, error.text()});
}

std::unexpected<net::RpcStatus> failed(std::string_view method, std::string_view text, const Error& cause) {
  spdlog::error("{}: {}", method, cause.text());
  return std::unexpected(net::RpcStatus{net::RpcCode::internal, "[ERROR:attestation-agent] " + std::string(text)});
}

// One method: `run` takes the decoded request and gives the response message or an Error.
template <class Request, class Run>
void method(net::TtrpcServer& server, std::string name, std::string error_text, Run run) {
  server.add(std::string(agent::service_name), name,
             [name, error_text, run](net::TtrpcCall call) -> awaitable<RpcReply> {
               auto request = proto::decode<Request>(call.payload);
               if (!request) co_return undecodable(request.error());
               auto response = co_await run(*std::move(request));
               if (!response) co_return failed(name, error_text, response.error());
               co_return proto::encode(*response);
             });
}

}  // namespace

void register_service(net::TtrpcServer& server, Agent& a) {
  using namespace agent;  // NOLINT: the messages
  method<Empty>(server, "GetTeeType", "AA-KBC get tee type failed", [&a](Empty) -> net::Task<TeeTypeResponse> {
    CAIRN_CO_TRY(std::string tee, co_await a.tee_type());
    co_return TeeTypeResponse{std::move(tee)};
  });
  method<RuntimeDataRequest>(server, "GetEvidence", "AA-KBC get evidence failed",
                             [&a](RuntimeDataRequest request) -> net::Task<EvidenceResponse> {
                               CAIRN_CO_TRY(const std::string text,
                                            co_await a.evidence(std::move(request.runtime_data)));
                               co_return EvidenceResponse{to_bytes(text)};
                             });
  method<TokenRequest>(
      server, "GetToken", "AA-KBC get token failed", [&a](TokenRequest request) -> net::Task<TokenResponse> {
        CAIRN_CO_TRY(const Secret token,
                     co_await a.token(std::move(request.token_type), std::move(request.additional_data)));
        co_return TokenResponse{to_bytes(token.view())};
      });
  method<ExtendRequest>(server, "ExtendRuntimeMeasurement", "AA extend runtime measurement failed",
                        [&a](ExtendRequest r) -> net::Task<ExtendResponse> {
                          eventlog::AaelEvent event{std::move(r.domain), std::move(r.operation), std::move(r.content)};
                          CAIRN_CO_CHECK(co_await a.extend(std::move(event), r.register_index));
                          co_return ExtendResponse{};
                        });
  method<BindInitDataRequest>(server, "BindInitData", "AA bind init data failed",
                              [&a](BindInitDataRequest request) -> net::Task<Empty> {
                                CAIRN_CO_CHECK(co_await a.bind_init_data(std::move(request.digest)));
                                co_return Empty{};
                              });
  if (a.options().profile == kbs::Profile::p1) {
    method<UpdateConfigurationRequest>(server, "UpdateConfiguration", "AA update configuration failed",
                                       [&a](UpdateConfigurationRequest request) -> net::Task<Empty> {
                                         CAIRN_CO_CHECK(a.update_configuration(request.config));
                                         co_return Empty{};
                                       });
    return;
  }
  method<RuntimeDataRequest>(server, "GetAdditionalEvidence", "AA-KBC get additional evidence failed",
                             [&a](RuntimeDataRequest request) -> net::Task<EvidenceResponse> {
                               CAIRN_CO_TRY(const std::string text,
                                            co_await a.additional_evidence(std::move(request.runtime_data)));
                               co_return EvidenceResponse{to_bytes(text)};
                             });
  method<Empty>(
      server, "GetAdditionalTees", "AA-KBC get additional tees failed",
      [&a](Empty) -> net::Task<AdditionalTeesResponse> { co_return AdditionalTeesResponse{a.additional_tees()}; });
}

}  // namespace cairn::aa
