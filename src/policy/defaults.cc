#include "policy/defaults.h"

namespace cairn::policy::defaults {

std::string_view simple() {
  return R"rego(# Everything the evidence claims must be among the reference values of that name, where there are any.
package policy

import rego.v1

default allow := false

allow if every name, claim in input { acceptable(name, claim) }

acceptable(name, _) if not data.reference[name]

acceptable(name, claim) if data.reference[name] == claim

acceptable(name, _) if data.reference[name] == []

acceptable(name, claim) if {
	is_array(data.reference[name])
	claim in data.reference[name]
}

acceptable(name, claim) if {
	data.reference[name] == false
	claim == false
}
)rego";
}

std::string_view ear_a() {
  return R"rego(package policy

import rego.v1

default executables := 33

default hardware := 97

default configuration := 36

known := data.reference

# Sample

executables := 3 if input.sample.launch_digest in known.launch_digest

hardware := 2 if input.sample.svn in known.svn

# Intel TDX

executables := 3 if {
	input.tdx.quote.body.rtmr_1 in known.rtmr_1
	input.tdx.quote.body.rtmr_2 in known.rtmr_2
}

hardware := 2 if {
	input.tdx.quote.header.tee_type == "81000000"
	input.tdx.quote.header.vendor_id == "939a7233f79c4ca9940a0db3957f0607"
	input.tdx.quote.body.mr_seam in known.mr_seam
	input.tdx.quote.body.tcb_svn in known.tcb_svn
	input.tdx.quote.body.mr_td in known.mr_td
}

configuration := 2 if {
	input.tdx.td_attributes.debug == false
	input.tdx.quote.body.xfam in known.xfam
}

# AMD SEV-SNP

executables := 3 if input.snp.launch_measurement in known.snp_launch_measurement

hardware := 2 if {
	input.snp.reported_tcb_bootloader in known.snp_bootloader
	input.snp.reported_tcb_microcode in known.snp_microcode
	input.snp.reported_tcb_snp in known.snp_snp_svn
	input.snp.reported_tcb_tee in known.snp_tee_svn
}

configuration := 2 if {
	snp_closed
	input.snp.platform_smt_enabled in known.snp_smt_enabled
	input.snp.platform_tsme_enabled in known.snp_tsme_enabled
	input.snp.policy_abi_major in known.snp_guest_abi_major
	input.snp.policy_abi_minor in known.snp_guest_abi_minor
	input.snp.policy_single_socket in known.snp_single_socket
	input.snp.policy_smt_allowed in known.snp_smt_allowed
} else := 3 if snp_closed

snp_closed if {
	input.snp.policy_debug_allowed == 0
	input.snp.policy_migrate_ma == 0
}
)rego";
}

std::string_view ear_b() {
  return R"rego(package policy

import rego.v1

default executables := 33

default hardware := 97

default configuration := 36

default file_system := 35

# Measured boot of Intel TDX and Hygon CSV: what the firmware's event log says about each stage of the boot.

evidence := input.tdx

evidence := input.csv

stages := {"grub", "shim", "kernel", "initrd"}

event("grub", e) if booted(e, "grub")

event("shim", e) if booted(e, "shim")

event("kernel", e) if loaded(e, "Kernel")

event("initrd", e) if loaded(e, "Initrd")

booted(e, name) if {
	e.type_name == "EV_EFI_BOOT_SERVICES_APPLICATION"
	contains(e.details.device_paths[_], name)
}

loaded(e, name) if {
	e.type_name == "EV_IPL"
	contains(e.details.string, name)
}

# The digest of a stage; two events of one stage with different digests are a conflict.
measured(stage) := e.digests[0] if {
	some e in evidence.uefi_event_logs
	event(stage, e)
}

expected(component, digest) if digest.digest in query_reference_value(sprintf("measurement.%s.%s", [component, digest.alg]))

executables := 3 if every stage in stages { expected(stage, measured(stage)) }

command_line if {
	some e in evidence.uefi_event_logs
	e.type_name == "EV_IPL"
	some start in ["grub_cmd linux", "kernel_cmdline", "grub_kernel_cmdline"]
	startswith(e.details.string, start)
	expected("kernel_cmdline", e.digests[0])
}

configuration := 2 if {
	input.tdx.quote.body.xfam in query_reference_value("tdx.xfam")
	command_line
}

configuration := 2 if {
	input.csv
	command_line
}

hardware := 2 if {
	input.tdx.quote.header.tee_type == "81000000"
	input.tdx.quote.header.vendor_id == "939a7233f79c4ca9940a0db3957f0607"
}

hardware := 2 if input.csv.version in {"1", "2"}

# A machine without a TEE that reports its event log.

executables := 3 if {
	input.system
	every e in model_events(input.system) { model_known(e) }
}

hardware := 2 if input.system

configuration := 2 if input.system

model_events(from) := [e |
	some e in object.get(from, "uefi_event_logs", [])
	e.details.domain == "trustiflux.alibaba.com"
	contains(e.details.operation, "load-model")
]

model_known(e) if {
	model := json.unmarshal(e.details.content)
	model.hash in query_reference_value(sprintf("measurement.model.%s", [model["model-id"]]))
}

# TPM

tpm := input.tpm

tpm := input.hygontpm

algorithms := {"SHA-1", "SHA-256", "SHA-384", "SM-3"}

executables := 3 if {
	some algorithm in algorithms
	every stage in stages { tpm_expected(stage, algorithm) }
}

configuration := 2 if {
	some algorithm in algorithms
	tpm_expected("kernel_cmdline", algorithm)
}

tpm_expected(component, algorithm) if {
	name := sprintf("measurement.%s.%s", [component, algorithm])
	tpm[name] in query_reference_value(name)
}

hardware := 2 if tpm

# AMD SEV-SNP

executables := 3 if input.snp

hardware := 2 if input.snp

configuration := 2 if {
	input.snp.policy_debug_allowed == "0"
	input.snp.policy_migrate_ma == "0"
}

file_system := 0 if input.snp

file_system := 2 if {
	some name in ["tdx", "csv", "tpm", "hygontpm", "system"]
	input[name]
}
)rego";
}

std::string_view ear_c_cpu() {
  return R"rego(package policy

import rego.v1

trust_claims := {
	"executables": executables,
	"hardware": hardware,
	"configuration": configuration,
	"file-system": 0,
	"instance-identity": 0,
	"runtime-opaque": 0,
	"storage-opaque": 0,
	"sourced-data": 0,
}

default executables := 33

default hardware := 97

default configuration := 36

reference(name) := query_reference_value(name)

# Sample

executables := 3 if input.sample.launch_digest in reference("launch_digest")

hardware := 2 if {
	input.sample.svn in reference("svn")
	input.sample.platform_version.major == reference("major_version")
	input.sample.platform_version.minor >= reference("minimum_minor_version")
}

configuration := 2 if input.sample.debug == false

# Intel TDX

tdx_firmware_measured if {
	input.tdx.quote.body.rtmr_1 in reference("rtmr_1")
	input.tdx.quote.body.rtmr_2 in reference("rtmr_2")
}

tdx_kernel_measured if {
	some kernel in input.tdx.uefi_event_logs
	kernel.type_name == "EV_EFI_BOOT_SERVICES_APPLICATION"
	"File(kernel)" in kernel.details.device_paths
	kernel.digests[_].digest == reference("tdvfkernel")
	some options in input.tdx.uefi_event_logs
	options.type_name == "EV_EVENT_TAG"
	options.details.string == "LOADED_IMAGE::LoadOptions"
	options.digests[_].digest == reference("tdvfkernelparams")
}

executables := 3 if {
	tdx_firmware_measured
	tdx_kernel_measured
} else := 4 if tdx_firmware_measured

hardware := 2 if {
	input.tdx.quote.header.tee_type == "81000000"
	input.tdx.quote.header.vendor_id == "939a7233f79c4ca9940a0db3957f0607"
	input.tdx.quote.body.mr_td in reference("mr_td")
	input.tdx.tcb_status == "UpToDate"
	input.tdx.collateral_expiration_status == "0"
}

configuration := 2 if {
	input.tdx.td_attributes.debug == false
	input.tdx.quote.body.xfam in reference("xfam")
}

# AMD SEV-SNP

executables := 3 if input.snp.launch_measurement in reference("snp_launch_measurement")

hardware := 2 if {
	input.snp.reported_tcb_bootloader in reference("snp_bootloader")
	input.snp.reported_tcb_microcode in reference("snp_microcode")
	input.snp.reported_tcb_snp in reference("snp_snp_svn")
	input.snp.reported_tcb_tee in reference("snp_tee_svn")
}

snp_closed if {
	input.snp.policy_debug_allowed == false
	input.snp.policy_migrate_ma == false
}

configuration := 2 if {
	snp_closed
	input.snp.platform_smt_enabled == reference("snp_smt_enabled")
	input.snp.platform_tsme_enabled == reference("snp_tsme_enabled")
	input.snp.policy_abi_major == reference("snp_guest_abi_major")
	input.snp.policy_abi_minor == reference("snp_guest_abi_minor")
	input.snp.policy_single_socket == reference("snp_single_socket")
	input.snp.policy_smt_allowed == reference("snp_smt_allowed")
} else := 3 if snp_closed

# Virtual TPMs on Azure, and TPMs

executables := 3 if {
	input["az-snp-vtpm"].measurement in reference("measurement")
	input["az-snp-vtpm"].tpm.pcr11 in reference("snp_pcr11")
}

hardware := 2 if {
	input["az-snp-vtpm"].reported_tcb_bootloader in reference("tcb_bootloader")
	input["az-snp-vtpm"].reported_tcb_microcode in reference("tcb_microcode")
	input["az-snp-vtpm"].reported_tcb_snp in reference("tcb_snp")
	input["az-snp-vtpm"].reported_tcb_tee in reference("tcb_tee")
}

executables := 3 if input["az-tdx-vtpm"].tpm.pcr11 in reference("tdx_pcr11")

hardware := 2 if {
	input["az-tdx-vtpm"].quote.header.tee_type == "81000000"
	input["az-tdx-vtpm"].quote.body.mr_td in reference("mr_td")
}

executables := 3 if input.tpm.pcr11 in reference("tpm_pcr11")

hardware := 2 if input.tpm.ak_public in reference("trusted_aks")

# IBM Secure Execution

executables := 3 if input.se

hardware := 2 if input.se

configuration := 2 if input.se

# What the agent's policy says about the containers of the pod.

extensions := [{"name": "ear.trustee.identifiers", "key": -18, "value": {"validated": validated}}]

containers := object.get(input, ["init_data_claims", "agent_policy_claims", "containers"], [])

validated[name] := values if {
	some name, values in {"container_images": images, "container_uids": uids}
	count(values) > 0
}

images := [image | image := containers[_].OCI.Annotations["io.kubernetes.cri.image-name"]]

uids := [uid | uid := containers[_].OCI.Process.User.UID]
)rego";
}

std::string_view resource_a() {
  return R"rego(# Whoever holds a token gets what it asks for: the attestation policy has decided.
package policy

default allow = true
)rego";
}

std::string_view resource_b() {
  return R"rego(# The vector of the machine must speak of four things and reject none.
package policy

import rego.v1

default allow := false

vector := input.submods.cpu0["ear.trustworthiness-vector"]

allow if every claim in ["configuration", "executables", "file-system", "hardware"] { vector[claim] <= 32 }
)rego";
}

std::string_view resource_c() {
  return R"rego(# Resources go to any machine but the sample attester, which proves nothing.
package policy

import rego.v1

default allow := false

allow if {
	data.plugin == "resource"
	not sample
}

sample if input.submods.cpu0["ear.veraison.annotated-evidence"].sample
)rego";
}

std::string_view resource_affirming() {
  return R"rego(# No part of the machine may have a status other than affirming.
package policy

import rego.v1

default allow := false

allow if {
	data.plugin == "resource"
	count(input.submods) > 0
	not rejected
}

rejected if {
	some part in input.submods
	part["ear.status"] != "affirming"
}
)rego";
}

std::string_view deny_all() {
  return R"rego(package policy

default allow = false
)rego";
}

}  // namespace cairn::policy::defaults
