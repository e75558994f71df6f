// Who this instance is, for the audit records of a Trustee; and its sign of life. spec/guest.md §2.6.
#pragma once

#include <string>

#include "guest/aa/config.h"
#include "net/task.h"

namespace cairn::aa {

// The JSON of the header AAInstanceInfo, "" for an empty type. Never fails: members that cannot be read are null.
// `metadata_url` is the base of the cloud's metadata service, an argument for the tests.
[[nodiscard]] net::Task<std::string> collect_instance_info(std::string type, guest::Environment environment,
                                                           std::string metadata_url = "http://100.100.100.200");

// POST {url}/aa-instance/heartbeat at once and then every interval, until cancelled. Failures are logged.
[[nodiscard]] net::Task<> heartbeat(std::string url, std::string instance_info, std::string extra_roots,
                                    net::Milliseconds interval);

}  // namespace cairn::aa
