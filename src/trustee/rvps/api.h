// Reference values over HTTP: the gateway's routes, and those below the key broker. spec/trustee.md §2.2, §2.6, §3.8.
#pragma once

#include "trustee/api.h"
#include "trustee/rvps/reference_values.h"

namespace cairn::trustee::rvps {

class Api {
 public:
  Api(Store& store, const Admin& admin) : store_(&store), admin_(&admin) {}
  // Below /api/rvps: GET query (anyone); POST register, DELETE delete/<name> (administrators).
  [[nodiscard]] net::Response handle(const Call& call);
  // The same below /kbs/v0/rvps; the caller has asked for an administrator.
  [[nodiscard]] net::Response handle_admin(const Call& call);
  // /kbs/v0/reference-value of the upstream profile: POST a message, GET <name>; the caller has asked for an
  // administrator.
  [[nodiscard]] net::Response handle_upstream(const Call& call);

 private:
  [[nodiscard]] net::Response query(Time now) const;
  [[nodiscard]] net::Response register_message(std::string_view message, Time now);

  Store* store_;
  const Admin* admin_;
};

}  // namespace cairn::trustee::rvps
