// Evidence of simulated devices in the form that Trustee's agents send it. nvidia-gpu §3.5 C.
#pragma once

#include "base/encoding.h"
#include "evidence/nvidia/evidence.h"

namespace cairn::device {

inline Json trustee_shape(const nvidia::Evidence& evidence) {
  Json list = Json::array();
  for (const auto& d : evidence.devices)
    list.push_back({{"arch", d.arch},
                    {"uuid", d.uuid},
                    {"evidence", base64(d.report)},
                    {"certificate", base64(as_bytes(d.certificate))}});
  return {{"device_evidence_list", std::move(list)}};
}

}  // namespace cairn::device
