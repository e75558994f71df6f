#include "trustee/as/default_policy.h"

namespace cairn::trustee::as {

std::string_view default_attestation_policy() {
  return R"rego(# Attestation policy "default": a machine is believed when everything it measured was registered.
#
# The same text serves both kinds of token. A Simple token is issued when `allow` is true; its input is a flat map
# ("tdx.quote.body.mr_td"). An EAR carries the trust claims below; its input is nested (input.tdx.quote.body.mr_td).
# `reasons` lists each check that does not hold, as {"code", "claim", "detail"}.
#
# Reference values looked at:
#   tdx.quote.body.mr_td                    the firmware's MRTD
#   tdx.quote.body.rtmr_0, rtmr_1, rtmr_2   whole registers; or, instead of a register, every event in it:
#   tdx.rtmr_0.events, ...                  SHA-384 digests of the events of one register
#   measurement.<kind>.<name>               contents of the measurement events in RTMR3 ("sha384:...")
#   measurement.restarts                    [true] accepts logs with more than one run of the measurer
#   tdx.tcb_status                          TCB statuses besides UpToDate
#   any other tdx.<claim>                   where registered, the claim must have one of the values
#   sample.svn, sample.launch_digest, sampledevice.svn   for the sample TEEs, where those are enabled at all
package policy

import rego.v1

default allow := false

allow if count(reasons) == 0

executables := 33 if lowered("executables")

else := 3

hardware := 97 if lowered("hardware")

else := 2

configuration := 36 if lowered("configuration")

else := 2

file_system := 35 if lowered("file_system")

else := 2

lowered(claim) if {
	some reason in reasons
	reason.claim == claim
}

# --- reading the input in either form ---

present(tee) if input[tee]

present(tee) if {
	some name, _ in input
	startswith(name, concat("", [tee, "."]))
}

claim(tee, path) := value if {
	value := input[concat(".", [tee, path])]
} else := value if {
	value := object.get(input[tee], split(path, "."), null)
	value != null
} else := value if {
	value := input[tee][path]
} else := null

registered(name, value) if {
	value != null
	value in query_reference_value(name)
}

registered(name, value) if {
	value != null
	query_reference_value(name) == value
}

# --- evidence of no kind known here ---

reasons contains {"code": "unknown_evidence", "claim": "hardware", "detail": "the evidence is of no kind that this policy knows"} if {
	not present("tdx")
	not present("sample")
	not present("sampledevice")
	not present("nvidia")
}

# --- TDX: platform ---

reasons contains {"code": "mr_td_not_registered", "claim": "hardware", "detail": detail} if {
	present("tdx")
	value := claim("tdx", "quote.body.mr_td")
	not registered("tdx.quote.body.mr_td", value)
	detail := sprintf("the TD's firmware is not registered: MRTD %v is no reference value of tdx.quote.body.mr_td", [value])
}

reasons contains {"code": "tcb_status", "claim": "hardware", "detail": detail} if {
	present("tdx")
	status := claim("tdx", "tcb_status")
	status != "UpToDate"
	not registered("tdx.tcb_status", status)
	detail := sprintf("the platform's TCB status is %v, not UpToDate", [status])
}

reasons contains {"code": "collateral_expired", "claim": "hardware", "detail": "the collateral that the quote was judged with has expired"} if {
	present("tdx")
	claim("tdx", "collateral_expiration_status") != "0"
	not registered("tdx.collateral_expiration_status", claim("tdx", "collateral_expiration_status"))
}

reasons contains {"code": "gpu_unverified", "claim": "hardware", "detail": "GPU reports beside the quote are not verified"} if {
	present("tdx")
	claim("tdx", "gpu_evidence_unverified") == true
}

reasons contains {"code": "gpu_inventory", "claim": "hardware", "detail": "the GPUs are not those that the agent recorded at boot"} if {
	present("tdx")
	claim("tdx", "gpu_inventory") == "differs"
}

# --- NVIDIA GPUs and switches as evidence of their own ---

reasons contains {"code": "gpu_unverified", "claim": "hardware", "detail": "not every device is verified"} if {
	present("nvidia")
	not claim("nvidia", "verified") == true
}

reasons contains {"code": "debug", "claim": "configuration", "detail": "the TD can be debugged by its host"} if {
	present("tdx")
	claim("tdx", "td_attributes.debug") != false
}

reasons contains {"code": "td_attributes", "claim": "configuration", "detail": detail} if {
	present("tdx")
	some name, wanted in {"perfmon": false, "septve_disable": true}
	path := concat("", ["td_attributes.", name])
	value := claim("tdx", path)
	value != wanted
	not registered(concat("", ["tdx.", path]), value)
	detail := sprintf("the TD's attribute %s is %v", [name, value])
}

# --- TDX: what was booted ---

reasons contains {"code": "rtmr_not_registered", "claim": "executables", "detail": detail} if {
	present("tdx")
	some i in [0, 1, 2]
	name := sprintf("quote.body.rtmr_%d", [i])
	value := claim("tdx", name)
	not registered(concat("", ["tdx.", name]), value)
	not every_event_registered(i)
	detail := sprintf("what was booted is not registered: RTMR%d %v is no reference value of tdx.%s", [i, value, name])
}

every_event_registered(i) if {
	digests := [digest.digest |
		some event in claim("tdx", "uefi_event_logs")
		event.index == i + 1
		event.type_name != "EV_NO_ACTION"
		some digest in event.digests
		digest.alg == "SHA-384"
	]
	count(digests) > 0
	every digest in digests {
		registered(sprintf("tdx.rtmr_%d.events", [i]), digest)
	}
}

# --- TDX: what was measured into RTMR3 (scheme cairn-measure/1) ---

subjects := [subject |
	some subject in claim("tdx", "measure.events")
	not subject.kind in {"begin", "ready"}
]

claim_of_kind := {
	"kernel": "executables", "image": "executables", "engine": "executables", "ui": "executables", "gpu": "executables",
	"config": "configuration", "model": "file_system", "unload": "file_system", "reload": "file_system",
}

reasons contains {"code": "measurement_not_registered", "claim": claim_of_kind[subject.kind], "detail": detail} if {
	some subject in subjects
	not registered(subject.key, subject.content)
	not unpinned_inventory(subject)
	detail := sprintf("the measured %s %q is not registered: %s is no reference value of %s", [subject.kind, subject.name, subject.content, subject.key])
}

# Which GPUs a machine has matters only where somebody registered it.
unpinned_inventory(subject) if {
	subject.key == "measurement.gpu.inventory"
	not data.reference[subject.key]
}

reasons contains {"code": "measurement_missing", "claim": lowers, "detail": detail} if {
	present("tdx")
	some kind, lowers in claim_of_kind
	some name, _ in data.reference
	startswith(name, sprintf("measurement.%s.", [kind]))
	not kind in {subject.kind | some subject in subjects}
	detail := sprintf("a %s is registered, but this machine measured none", [kind])
}

reasons contains {"code": "measurer_restarted", "claim": "executables", "detail": "the measurer was started more than once"} if {
	claim("tdx", "measure.runs") > 1
	not registered("measurement.restarts", true)
}

# --- TDX: any other claim that has reference values ---

reasons contains {"code": "claim_not_registered", "claim": "configuration", "detail": detail} if {
	present("tdx")
	some name, _ in data.reference
	startswith(name, "tdx.")
	path := trim_prefix(name, "tdx.")
	not path in {"quote.body.mr_td", "quote.body.rtmr_0", "quote.body.rtmr_1", "quote.body.rtmr_2", "tcb_status"}
	value := claim("tdx", path)
	value != null
	not registered(name, value)
	detail := sprintf("the value %v of %s is not registered", [value, name])
}

# --- sample TEEs ---

reasons contains {"code": "sample_not_registered", "claim": lowers, "detail": detail} if {
	present("sample")
	some name, lowers in {"svn": "hardware", "launch_digest": "executables"}
	value := claim("sample", name)
	not registered(concat("", ["sample.", name]), value)
	not registered(name, value)
	detail := sprintf("the sample TEE's %s %v is not registered", [name, value])
}

reasons contains {"code": "debug", "claim": "configuration", "detail": "the sample TEE is in debug mode"} if {
	present("sample")
	claim("sample", "debug") != false
}

reasons contains {"code": "sample_not_registered", "claim": "hardware", "detail": detail} if {
	present("sampledevice")
	value := claim("sampledevice", "svn")
	not registered("sampledevice.svn", value)
	not registered("device_svn", value)
	detail := sprintf("the sample device's svn %v is not registered", [value])
}
)rego";
}

}  // namespace cairn::trustee::as
