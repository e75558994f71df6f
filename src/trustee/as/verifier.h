// One kind of TEE evidence: JSON in, claims out.
#pragma once

#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/json.h"
#include "trustee/as/rejection.h"
#include "trustee/pending.h"

namespace cairn::trustee::as {

enum class DeviceClass { cpu, gpu };

// What the evidence must be bound to; nullopt: not checked, as the request named nothing.
struct Binding {
  std::optional<Bytes> report_data;  // the hash of structured runtime data, or raw runtime data itself
  std::optional<Bytes> init_data;    // digest of the init data
};

// Implementations are called from any number of threads at once.
class TeeVerifier {
 public:
  virtual ~TeeVerifier() = default;
  [[nodiscard]] virtual std::string_view tee() const = 0;
  [[nodiscard]] virtual DeviceClass device() const { return DeviceClass::cpu; }
  // The tee's claims as one object: members "report_data" and "init_data" (lower-case hex, or as the TEE has them) are
  // lifted out by the token brokers, the rest is what policies see below the tee's name. `pending` may be null.
  [[nodiscard]] virtual Outcome<Json> verify(const Json& evidence, const Binding& binding, Time now,
                                             Pending* pending) const = 0;
};

}  // namespace cairn::trustee::as
