#include "kbs_protocol/aa_client.h"

#include "base/encoding.h"
#include "base/log.h"
#include "kbs_protocol/proto.h"
#include "net/ttrpc.h"

namespace cairn::agent {
namespace {

Result<std::string> text_of(Bytes bytes, std::string_view what) {
  if (!is_utf8(as_text(bytes)))
    return fail(ErrorCode::malformed, std::string(what), "the attestation agent's answer is not UTF-8");
  return std::string(as_text(bytes));
}

}  // namespace

struct Client::State {
  State(net::Endpoint endpoint, net::Milliseconds limit)
      : address(endpoint.text()), timeout(limit), rpc(std::move(endpoint)) {}

  template <class Answer, class Request>
  net::Task<Answer> call(std::string method, Request request) {
    auto reply = co_await rpc.call(std::string(service_name), method, proto::encode(request), timeout);
    if (!reply) co_return fail(net::to_error(reply.error()).in("attestation agent at " + address + ", " + method));
    Result<Answer> answer = proto::decode<Answer>(*reply);
    wipe(reply->data(), reply->size());  // tokens come with a private key
    if (!answer) co_return fail(std::move(answer.error()).in("the attestation agent's answer to " + method));
    co_return answer;
  }

  std::string address;
  net::Milliseconds timeout;
  net::TtrpcClient rpc;
};

Result<Client> Client::at(std::string_view address, net::Milliseconds timeout) {
  if (address.starts_with('/'))
    return Client(std::make_unique<State>(net::Endpoint::local(std::string(address)), timeout));
  CAIRN_TRY(auto endpoint, net::Endpoint::parse(address));
  if (!endpoint.is_unix())
    return fail(ErrorCode::invalid_argument, printable(address),
                "the attestation agent's address must be unix:///path");
  return Client(std::make_unique<State>(std::move(endpoint), timeout));
}

Client::Client(std::unique_ptr<State> state) : state_(std::move(state)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;
const std::string& Client::address() const { return state_->address; }

net::Task<std::string> Client::tee_type() {
  CAIRN_CO_TRY(auto answer, co_await state_->call<TeeTypeResponse>("GetTeeType", Empty{}));
  if (answer.tee.empty()) co_return fail(ErrorCode::malformed, "GetTeeType", "the attestation agent names no TEE");
  co_return std::move(answer.tee);
}

net::Task<std::string> Client::evidence(Bytes runtime_data) {
  if (runtime_data.size() > kbs::limits::runtime_data_bytes)
    co_return fail(ErrorCode::invalid_argument, "runtime data", "at most 64 bytes fit into report data");
  CAIRN_CO_TRY(auto answer,
               co_await state_->call<EvidenceResponse>("GetEvidence", RuntimeDataRequest{std::move(runtime_data)}));
  co_return text_of(std::move(answer.evidence), "GetEvidence");
}

net::Task<std::string> Client::additional_evidence(Bytes runtime_data) {
  auto answer =
      co_await state_->call<EvidenceResponse>("GetAdditionalEvidence", RuntimeDataRequest{std::move(runtime_data)});
  if (!answer && answer.error().code == ErrorCode::unsupported) co_return std::string();
  if (!answer) co_return fail(std::move(answer).error());
  co_return text_of(std::move(answer->evidence), "GetAdditionalEvidence");
}

net::Task<std::vector<std::string>> Client::additional_tees() {
  CAIRN_CO_TRY(auto answer, co_await state_->call<AdditionalTeesResponse>("GetAdditionalTees", Empty{}));
  co_return std::move(answer.additional_tees);
}

net::Task<Secret> Client::token(std::string type, std::optional<std::string> additional_data) {
  CAIRN_CO_TRY(auto answer, co_await state_->call<TokenResponse>(
                                "GetToken", TokenRequest{std::move(type), std::move(additional_data)}));
  co_return Secret::take(std::move(answer.token));
}

net::Task<> Client::extend(std::string domain, std::string operation, std::string content,
                           std::optional<std::uint64_t> pcr) {
  CAIRN_CO_TRY(const auto answer, co_await state_->call<ExtendResponse>(
                                      "ExtendRuntimeMeasurement",
                                      ExtendRequest{std::move(domain), std::move(operation), std::move(content), pcr}));
  if (answer.result == 1)
    co_return fail(ErrorCode::unsupported, "ExtendRuntimeMeasurement",
                   "the attestation agent's TEE has no registers to extend");
  if (answer.result != 0)
    co_return fail(ErrorCode::unsupported, "ExtendRuntimeMeasurement",
                   "the attestation agent's event log is not enabled");
  co_return Result<>{};
}

net::Task<> Client::bind_init_data(Bytes digest) {
  const auto answer = co_await state_->call<Empty>("BindInitData", BindInitDataRequest{std::move(digest)});
  if (!answer) co_return fail(answer.error());
  co_return Result<>{};
}

}  // namespace cairn::agent
