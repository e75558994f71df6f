# Resource policy: as the one that cairn-trustee starts with, and only to machines with verified GPUs.
#
#   cairn trustee set-resource-policy --policy-file require-gpus.rego
#
# Edit `gpus` to ask for a number of them.
package policy

import rego.v1

gpus := 1

default allow := false

allow if count(objections) == 0

reasons := specific if count(specific) > 0

else := objections

# Simple tokens (profile p1): GPU reports travel beside the quote.
objections contains "policy: the evidence was not appraised under policy \"default\"" if {
	not input.submods
	not simple_by_default
}

simple_by_default if {
	some report in input["evaluation-reports"]
	report["policy-id"] == "default"
}

objections contains "no_verdict: the token has no verdict on a TDX machine" if {
	not input.submods
	not input.tee == "tdx"
}

objections contains gpu_missing if {
	not input.submods
	not enough(object.get(json.unmarshal(object.get(input, "tcb-status", "{}")), "tdx.gpu.gpu_verified_count", 0))
}

# EARs (profile p2): every component must be affirmed, a CPU and the GPUs among them.
objections contains "no_verdict: the token has no verdict on a TDX machine" if {
	input.submods
	not some_tdx
}

some_tdx if {
	some name, module in input.submods
	startswith(name, "cpu")
	module["ear.veraison.annotated-evidence"].tdx
}

objections contains sprintf("status: the verdict on %s is not affirming under policy \"default\"", [name]) if {
	some name, module in input.submods
	not affirmed(module)
}

affirmed(module) if {
	module["ear.appraisal-policy-id"] == "default"
	module["ear.status"] == "affirming"
	every claim in ["configuration", "executables", "file-system", "hardware"] {
		value := module["ear.trustworthiness-vector"][claim]
		is_number(value)
		value >= 2
		value <= 31
	}
}

objections contains gpu_missing if {
	input.submods
	not some_gpus
}

some_gpus if {
	some name, module in input.submods
	startswith(name, "gpu")
	enough(module["ear.veraison.annotated-evidence"].nvidia.gpu_verified_count)
}

enough(n) if {
	is_number(n)
	n >= gpus
}

gpu_missing := sprintf("gpu: fewer than %d verified GPUs", [gpus])

specific contains sprintf("%s: %s", [reason.code, reason.detail]) if {
	some module in input.submods
	some reason in module["cairn.reasons"]
}
