#include "evidence/nvidia/verify.h"

#include <algorithm>
#include <charconv>

#include "base/cursor.h"
#include "base/encoding.h"
#include "base/secret.h"
#include "crypto/hash.h"
#include "evidence/nvidia/limits.h"
#include "evidence/nvidia/text.h"
#include "evidence/nvidia/topology.h"
#include "evidence/tdx/lru.h"

namespace cairn::nvidia {
namespace {

using tdx::Lru;
using Authentic = DeviceVerdict::Authentic;
constexpr std::string_view kFirstDriverWithFwid = "550";
constexpr std::size_t kMaxRemoteError = 512;  // bytes of a remote service's words that a finding repeats

struct DeviceChain {
  Chain chain;
  DeviceIdentity identity;
};

// Dotted numbers, missing ones as 0. Anything else sorts below every version.
bool older(std::string_view version, std::string_view than) {
  const auto next = [](std::string_view& text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const std::size_t dot = text.find('.');
    text = dot == std::string_view::npos ? std::string_view() : text.substr(dot + 1);
    return error == std::errc() ? value : 0;
  };
  while (!version.empty() || !than.empty()) {
    const std::uint32_t a = next(version), b = next(than);
    if (a != b) return a < b;
  }
  return false;
}

Digest<32> answer_key(std::string_view id, ByteView response) {
  return crypto::sha256(Writer().text(id).u8(0).bytes(response).view());
}

// Where NVIDIA says which certificates' revocation is asked: the CAs of a device below the root (its own key's
// certificate is made by the device and nobody's to answer for), and all of a RIM below the root.
std::size_t first_asked(ChainKind kind) { return kind == ChainKind::device ? 1 : 0; }

// Every device by `judge`, then the set.
template <class Judge>
Verdict judge_all(const Evidence& evidence, const Policy& policy, Judge judge) {
  Verdict out;
  for (std::size_t i = 0; i < evidence.devices.size(); ++i) {
    DeviceVerdict& d = out.devices.emplace_back(judge(i));
    const bool is_switch = d.authentic ? d.authentic->facts.kind == Kind::nvswitch : evidence.devices[i].arch == "LS10";
    std::size_t& count = is_switch ? out.switches : out.gpus;
    d.label = (is_switch ? "SWITCH-" : "GPU-") + std::to_string(count++);
    if (d.verified()) ++(is_switch ? out.verified_switches : out.verified_gpus);
    out.simulated |= d.authentic && d.authentic->simulated;
  }
  check_set(policy, out);
  return out;
}

// Whether a remote service's certificate object says that the chain is sound.
bool chain_is_good(const Json& chain, bool require_ocsp) {
  if (!chain.is_object() || chain.value("x-nvidia-cert-status", Json()) != "valid") return false;
  const Json ocsp = chain.value("x-nvidia-cert-ocsp-status", Json());
  return ocsp == "good" || (!require_ocsp && ocsp != "revoked");
}

// The first claim of a remote service's token that is not as a sound device's; "" where all are.
std::string unsound_claim(const Json& claims, const std::string& prefix, bool require_ocsp) {
  for (const char* name : {"attestation-report-nonce-match", "attestation-report-signature-verified"})
    if (claims.value(prefix + name, Json()) != true) return prefix + name;
  for (const auto& [name, value] : claims.items()) {
    if (!name.starts_with("x-nvidia-")) continue;
    if (value.is_boolean() && value != true) return name;
    if (name.ends_with("-cert-chain") && !chain_is_good(value, require_ocsp)) return name;
  }
  if (claims.value("secboot", Json()) != true) return "secboot";
  if (claims.value("dbgstat", Json()) != "disabled") return "dbgstat";
  return {};
}

}  // namespace

struct Verifier::Impl {
  TrustRoots roots;
  CacheSizes sizes;
  Lru<DeviceChain> chains;
  Lru<VerifiedRim> rims;
  Lru<OcspAnswer> answers;

  Impl(TrustRoots trusted, CacheSizes s)
      : roots(std::move(trusted)), sizes(s), chains(s.chains), rims(s.rims), answers(s.ocsp) {}

  // One verification's arguments.
  struct Run {
    const Collateral& collateral;
    const Options& options;
    const Policy& policy;
  };

  // ------------------------------------------------------------------------------------- what holds for all time

  Checked<std::shared_ptr<const DeviceChain>> device_chain(const std::string& pem) {
    const Digest<32> key = crypto::sha256(as_bytes(pem));
    if (auto known = chains.find(key)) return known;
    if (pem.size() > kMaxChainPem) return fault(Failure::chain_format, "", "the chain is too long");
    auto certificates = crypto::Certificate::from_pem(pem, 8);
    if (!certificates) return fault(Failure::chain_format, "", certificates.error());
    auto out = std::make_shared<DeviceChain>();
    CAIRN_TRY(out->chain, verify_chain(*std::move(certificates), ChainKind::device, roots.device));
    CAIRN_TRY(out->identity, read_identity(out->chain));
    chains.insert(key, out);
    return out;
  }

  Checked<std::shared_ptr<const VerifiedRim>> rim(ByteView document) {
    const Digest<32> key = crypto::sha256(document);
    if (auto known = rims.find(key)) return known;
    CAIRN_TRY(VerifiedRim verified, verify_rim(document, roots.rim));
    auto out = std::make_shared<const VerifiedRim>(std::move(verified));
    rims.insert(key, out);
    return out;
  }

  Checked<std::shared_ptr<const OcspAnswer>> answer(const std::string& id, ByteView response,
                                                    const crypto::Certificate& certificate,
                                                    const crypto::Certificate& issuer) {
    const Digest<32> key = answer_key(id, response);
    if (auto known = answers.find(key)) return known;
    CAIRN_TRY(OcspAnswer read, read_ocsp(response, certificate, issuer));
    auto out = std::make_shared<const OcspAnswer>(std::move(read));
    answers.insert(key, out);
    return out;
  }

  // ------------------------------------------------------------------------------------------------- revocation

  Checked<> judge_answer(const OcspAnswer& a, const OcspDocument& document, const std::string& where, const Run& run,
                         ChainFacts& facts) {
    facts.ocsp = std::max(facts.ocsp.value_or(CertificateStatus::good), a.status);
    if (a.status == CertificateStatus::revoked) {
      facts.revocation_reason = a.reason.value_or(0);
      if (!a.held()) {
        facts.state = ChainFacts::State::revoked;
        return fault(Failure::certificate_revoked, where, revocation_reason(*facts.revocation_reason));
      }
      if (!run.policy.allow_cert_hold) return fault(Failure::certificate_held, where, "certificateHold");
    }
    if (!document.nonce.empty()) {
      const bool same = constant_time_equal(a.nonce, document.nonce);
      facts.nonce_matches = facts.nonce_matches.value_or(true) && same;
      if (!same) return fault(Failure::ocsp_nonce, where, "it answers another request");
    }
    if (a.status == CertificateStatus::unknown) return fault(Failure::ocsp_unknown, where, "");
    if (auto fresh = check_fresh(a, run.options.time, run.policy.ocsp_grace); !fresh)
      return fault(Failure::ocsp_stale, where, fresh.error().detail);
    return {};
  }

  // Every certificate that must be asked about; revoked dominates, whatever else is wrong.
  void judge_revocation(const Chain& chain, ChainKind kind, const Run& run, ChainFacts& facts,
                        std::vector<Finding>& findings) {
    std::optional<Finding> worst;
    facts.answers_fresh = true;
    for (std::size_t i = first_asked(kind); i + 1 < chain.certificates.size(); ++i) {
      const Checked<> done = judge_certificate(chain.certificates[i], chain.certificates[i + 1], run, facts);
      if (done) continue;
      const Failure failure = done.error().failure;
      if (failure != Failure::certificate_held && failure != Failure::certificate_revoked) facts.answers_fresh = false;
      if (!worst || failure > worst->failure) worst = done.error();
    }
    if (worst && (run.policy.require_ocsp || worst->failure >= Failure::certificate_held))
      findings.push_back(*std::move(worst));
  }

  Checked<> judge_certificate(const crypto::Certificate& certificate, const crypto::Certificate& issuer, const Run& run,
                              ChainFacts& facts) {
    const std::string where = certificate.common_name();
    const Result<Bytes> id = ocsp_certificate_id(certificate, issuer);
    if (!id) return fault(Failure::ocsp_format, where, id.error());
    const auto found = run.collateral.ocsp.find(hex(*id));
    if (found == run.collateral.ocsp.end()) return fault(Failure::ocsp_absent, where, "no answer was given");
    facts.answers.push_back(found->first);
    CAIRN_TRY(const auto a, answer(found->first, found->second.response, certificate, issuer));
    return judge_answer(*a, found->second, where, run, facts);
  }

  // Validity and revocation of a chain at the verification time.
  ChainFacts judge_chain(const Chain& chain, ChainKind kind, const Run& run, std::vector<Finding>& findings) {
    ChainFacts facts{.not_after = chain.earliest_not_after()};
    if (Checked<> valid = check_validity(chain, kind, run.options.time); !valid) {
      const Failure f = valid.error().failure;
      facts.state = f == Failure::chain_expired || f == Failure::rim_expired ? ChainFacts::State::expired
                                                                             : ChainFacts::State::not_yet_valid;
      findings.push_back(std::move(valid.error()));
    }
    judge_revocation(chain, kind, run, facts, findings);
    return facts;
  }

  // ------------------------------------------------------------------------------------------- steps 1 to 6

  struct Judged {
    std::shared_ptr<const DeviceChain> chain;
    Report report;
    Facts facts;
  };
  // Signature and what it covers; the nonce is not asked.
  Checked<Judged> signed_report(const Device& device) {
    Judged out;
    Result<Report> report = parse_report(device.report);
    if (!report) {
      const bool newer = report.error().code == ErrorCode::unsupported;
      return fault(newer ? Failure::firmware_unsupported : Failure::report_format, "", report.error());
    }
    out.report = *std::move(report);
    CAIRN_TRY(out.chain, device_chain(device.certificate));
    const ByteView covered = ByteView(device.report).first(out.report.signed_size);
    if (!out.chain->chain.key.verify(crypto::Signature::ecdsa_raw, crypto::Hash::sha384, covered, out.report.signature))
      return fault(Failure::report_signature, "", "the signature is not that of the certificate's key");
    Result<Facts> facts = read_facts(out.report, out.chain->identity.kind());
    if (!facts) return fault(Failure::opaque_format, "", facts.error());
    out.facts = *std::move(facts);
    return out;
  }

  static Checked<> check_fwid(const Judged& j, const Policy& policy) {
    if (j.facts.fwid) {
      if (*j.facts.fwid == j.chain->identity.fwid) return {};
      return fault(Failure::fwid_mismatch, "",
                   "the report has " + hex(*j.facts.fwid) + ", the certificate " + hex(j.chain->identity.fwid));
    }
    if (j.facts.kind == Kind::nvswitch) return {};  // their reports have none
    if (policy.allow_absent_fwid && older(j.facts.driver_version, kFirstDriverWithFwid)) return {};
    return fault(Failure::fwid_absent, "", "the report has no firmware id");
  }

  Checked<Authentic> authenticate(const Device& device, const Run& run, std::shared_ptr<const DeviceChain>& chain) {
    CAIRN_TRY(Judged j, signed_report(device));
    chain = j.chain;
    const DeviceIdentity& id = j.chain->identity;
    CAIRN_CHECK(check_validity(j.chain->chain, ChainKind::device, run.options.time));
    if (!run.options.nonce) return fault(Failure::nonce_mismatch, "", "no nonce was given to compare with");
    if (!constant_time_equal(j.report.request_nonce, *run.options.nonce))
      return fault(Failure::nonce_mismatch, "",
                   "it answers " + hex(j.report.request_nonce) + ", not " + hex(*run.options.nonce));
    if (!device.arch.empty() && device.arch != name(id.arch))
      return fault(Failure::arch_mismatch, "",
                   "it is claimed to be " + device.arch + ", but its certificates are of " + id.hwmodel);
    CAIRN_CHECK(check_fwid(j, run.policy));
    const TrustRoot& root = *j.chain->chain.root;
    const bool fwid_in_report = j.facts.fwid.has_value();
    return Authentic{.identity = id,
                     .facts = std::move(j.facts),
                     .report = std::move(j.report),
                     .nonce = *run.options.nonce,
                     .root_name = root.name,
                     .simulated = root.simulated,
                     .fwid_in_report = fwid_in_report,
                     .chain = {},
                     .driver = {},
                     .firmware = {}};
  }

  // -------------------------------------------------------------------------------------------- steps 7 to 10

  static Checked<> check_rim(const Rim& rim, RimSource source, const Authentic& device, RimFacts& facts) {
    const std::string& version =
        source == RimSource::driver ? device.facts.driver_version : device.facts.firmware_version;
    facts.version_match = source == RimSource::driver ? rim.version == version : upper(rim.version) == upper(version);
    if (!facts.version_match)
      return fault(Failure::rim_version, facts.id, "it is of " + rim.version + ", the report of " + version);
    const bool is_switch = device.facts.kind == Kind::nvswitch;
    if (rim.edition != (is_switch ? "SWITCH" : "GPU") || !rim.product.starts_with(chip(device.identity.arch)))
      return fault(Failure::rim_product, facts.id, "it is of " + rim.edition + " " + rim.product);
    facts.measurements_available = !rim.golden.empty();
    if (rim.golden.empty()) return fault(Failure::rim_empty, facts.id, "");
    return {};
  }

  // The golden values of one manifest, given or enrolled; nullptr with a finding where they cannot be used.
  std::shared_ptr<const VerifiedRim> load_rim(RimSource source, const std::string& id, const Run& run,
                                              Authentic& device, RimFacts& facts, std::vector<Finding>& findings) {
    const auto refuse = [&](Finding f) {
      if (f.where != id) f.detail = f.where + (f.where.empty() || f.detail.empty() ? "" : ": ") + f.detail;
      f.where = id;
      findings.push_back(std::move(f));
      return nullptr;
    };
    const auto found = run.collateral.rims.find(id);
    if (found == run.collateral.rims.end()) return refuse({Failure::rim_absent, id, "it was not given"});
    facts.fetched = true;
    auto verified = rim(found->second);
    if (!verified) {
      facts.schema_validated = verified.error().failure != Failure::rim_format;
      return refuse(std::move(verified.error()));
    }
    const Rim& document = (*verified)->rim;
    facts.schema_validated = facts.signature_verified = true;
    facts.oem_id = document.oem_id;
    device.simulated |= (*verified)->chain.root->simulated;
    facts.chain = judge_chain((*verified)->chain, ChainKind::rim, run, findings);
    if (Checked<> fits = check_rim(document, source, device, facts); !fits) return refuse(std::move(fits.error()));
    return *verified;
  }

  static void take(Comparison comparison, Authentic& device, std::vector<Finding>& findings) {
    device.matched += comparison.matched;
    for (Mismatch& m : comparison.mismatches) {
      const std::string got = m.runtime ? hex(*m.runtime) : "nothing";
      findings.push_back({Failure::measurement, std::string(name(m.source)) + " index " + std::to_string(m.index),
                          "the report has " + got + ", golden is " + hex(m.golden.front()) +
                              (m.golden.size() > 1 ? " or another of " + std::to_string(m.golden.size()) : "")});
      device.mismatches.push_back(std::move(m));
    }
    for (SvnMismatch& m : comparison.svn_mismatches) {
      findings.push_back(
          {Failure::security_version, m.minimum.name,
           (m.runtime ? std::to_string(*m.runtime) : "nothing") + " is below " + std::to_string(m.minimum.value)});
      device.svn_mismatches.push_back(std::move(m));
    }
  }

  // One manifest: its golden values against the report. Whether it could be compared.
  bool compare_with(RimSource source, const Run& run, Authentic& device, RimFacts& facts,
                    std::shared_ptr<const VerifiedRim>& loaded, std::vector<Finding>& findings) {
    if (facts.id.empty()) {
      findings.push_back({Failure::rim_id, std::string(name(source)), ""});
      return false;
    }
    const auto enrolled = run.policy.enrolled.find(facts.id);
    if (!run.collateral.rims.contains(facts.id) && enrolled != run.policy.enrolled.end()) {
      facts.enrolled = facts.measurements_available = true;
      take(compare(device.report, device.facts, source, enrolled->second, {}, run.policy.exceptions), device, findings);
      return true;
    }
    loaded = load_rim(source, facts.id, run, device, facts, findings);
    if (!loaded) return false;
    take(compare(device.report, device.facts, source, loaded->rim.golden, loaded->rim.minimum, run.policy.exceptions),
         device, findings);
    return true;
  }

  void judge_measurements(const Run& run, Authentic& device, std::vector<Finding>& findings) {
    std::shared_ptr<const VerifiedRim> driver, firmware;
    device.firmware.id = firmware_rim_id(device.facts);
    device.compared = true;
    if (device.facts.kind == Kind::gpu) {
      device.driver.id = driver_rim_id(device.facts, device.identity.arch == Architecture::hopper);
      device.compared = compare_with(RimSource::driver, run, device, device.driver, driver, findings);
    }
    device.compared &= compare_with(RimSource::firmware, run, device, device.firmware, firmware, findings);
    device.no_conflict = !driver || !firmware || !conflict(driver->rim, firmware->rim);
    if (!device.no_conflict) findings.push_back({Failure::rim_conflict, device.firmware.id, ""});
  }

  // ---------------------------------------------------------------------------------------------------- policy

  static void appraise(const Policy& policy, const Authentic& device, std::vector<Finding>& findings) {
    if (device.simulated && !policy.allow_simulated)
      findings.push_back({Failure::simulated, device.root_name, "a root of its certificates is not NVIDIA's"});
    if (!policy.allowed.contains(device.identity.arch))
      findings.push_back({Failure::arch_not_allowed, std::string(name(device.identity.arch)), ""});
    if (device.facts.kind == Kind::gpu && !policy.min_driver.empty() &&
        older(device.facts.driver_version, policy.min_driver))
      findings.push_back(
          {Failure::driver_too_old, "", device.facts.driver_version + " is older than " + policy.min_driver});
    if (device.facts.feature_flag == opaque::kFeatureMulti && !policy.allow_multi_tenant)
      findings.push_back({Failure::multi_tenant, "", "feature flag 1"});
  }

  // That a token is of this device and this report.
  static Checked<> check_remote_identity(const RemoteResult& said, const Authentic& device, const Run& run) {
    const bool is_switch = device.facts.kind == Kind::nvswitch;
    const auto text = [&](const std::string& name) {
      const Json value = said.claims.value(name, Json());
      return value.is_string() ? upper(value.get<std::string>()) : std::string();
    };
    if (said.expires <= run.options.time) return fault(Failure::remote_token, "", "it has expired");
    if (text("eat_nonce") != upper(hex(device.nonce)))
      return fault(Failure::remote_token, "", "it is of another nonce");
    if (text("ueid") != device.identity.ueid) return fault(Failure::remote_token, "", "it is of another device");
    const std::string firmware = is_switch ? "x-nvidia-switch-bios-version" : "x-nvidia-gpu-vbios-version";
    if (text(firmware) != upper(device.facts.firmware_version) ||
        (!is_switch && text("x-nvidia-gpu-driver-version") != upper(device.facts.driver_version)))
      return fault(Failure::remote_token, "", "it is of other versions than the report");
    return {};
  }
  static Checked<> check_remote(const RemoteResult& said, const Authentic& device, const Run& run) {
    if (const auto error = said.claims.find("x-nvidia-error-details"); error != said.claims.end()) {
      const std::string words = compact_json(*error);
      return fault(Failure::remote_refused, "",
                   words.size() <= kMaxRemoteError ? words : "for reasons too long to repeat");
    }
    CAIRN_CHECK(check_remote_identity(said, device, run));
    if (said.claims.value("measres", Json()) != "success")
      return fault(Failure::remote_refused, "measres", "the measurements are not the golden ones");
    const std::string claim =
        unsound_claim(said.claims, device.facts.kind == Kind::nvswitch ? "x-nvidia-switch-" : "x-nvidia-gpu-",
                      run.policy.require_ocsp);
    if (!claim.empty()) return fault(Failure::remote_refused, claim, "the claim is not that of a sound device");
    if (!said.positive) return fault(Failure::remote_refused, "x-nvidia-overall-att-result", "it is not true");
    return {};
  }

  // A device whose report is authentic goes on to `judge_rest`, then to the policy.
  template <class F>
  DeviceVerdict judge(const Device& device, const Run& run, F judge_rest) {
    DeviceVerdict out;
    std::shared_ptr<const DeviceChain> chain;
    Checked<Authentic> authentic = authenticate(device, run, chain);
    if (!authentic) {
      out.findings.push_back(std::move(authentic.error()));
      return out;
    }
    out.authentic = *std::move(authentic);
    judge_rest(*out.authentic, chain->chain, out.findings);
    appraise(run.policy, *out.authentic, out.findings);
    return out;
  }

  DeviceVerdict judge_here(const Device& device, const Run& run) {
    return judge(device, run, [&](Authentic& authentic, const Chain& chain, std::vector<Finding>& findings) {
      judge_measurements(run, authentic, findings);
      authentic.chain = judge_chain(chain, ChainKind::device, run, findings);
    });
  }

  DeviceVerdict judge_remotely(const Device& device, const RemoteResult* said, const Run& run) {
    return judge(device, run, [&](Authentic& authentic, const Chain&, std::vector<Finding>& findings) {
      authentic.remote = said ? said->claims : Json::object();
      const Checked<> sound =
          said ? check_remote(*said, authentic, run) : fault(Failure::remote_token, "", "it was not asked");
      authentic.compared = sound.has_value();
      if (!sound) findings.push_back(sound.error());
    });
  }
};

void add_wanted(const Chain& chain, ChainKind kind, Wanted& out) {
  for (std::size_t i = first_asked(kind); i + 1 < chain.certificates.size(); ++i) {
    const auto &certificate = chain.certificates[i], &issuer = chain.certificates[i + 1];
    if (const auto id = ocsp_certificate_id(certificate, issuer)) out.ocsp.try_emplace(hex(*id), certificate, issuer);
  }
}

Verifier::Verifier(TrustRoots roots) : Verifier(std::move(roots), CacheSizes()) {}
Verifier::Verifier(TrustRoots roots, CacheSizes sizes) : impl_(std::make_unique<Impl>(std::move(roots), sizes)) {}
Verifier::Verifier(Verifier&&) noexcept = default;
Verifier& Verifier::operator=(Verifier&&) noexcept = default;
Verifier::~Verifier() = default;

Verdict Verifier::verify(const Evidence& evidence, const Collateral& collateral, const Options& options,
                         const Policy& policy) {
  const Impl::Run run{collateral, options, policy};
  return judge_all(evidence, policy, [&](std::size_t i) { return impl_->judge_here(evidence.devices[i], run); });
}

Verdict Verifier::verify_remote(const Evidence& evidence, const Remote& remote, const Options& options,
                                const Policy& policy) {
  const Collateral none;
  const Impl::Run run{none, options, policy};
  return judge_all(evidence, policy, [&](std::size_t i) {
    const auto said = remote.find(i);
    return impl_->judge_remotely(evidence.devices[i], said == remote.end() ? nullptr : &said->second, run);
  });
}

Wanted Verifier::wanted(const Evidence& evidence, const Collateral& have) {
  Wanted out;
  for (const Device& device : evidence.devices) {
    const auto judged = impl_->signed_report(device);
    if (!judged) continue;
    add_wanted(judged->chain->chain, ChainKind::device, out);
    const Facts& facts = judged->facts;
    for (const std::string& id :
         {driver_rim_id(facts, judged->chain->identity.arch == Architecture::hopper), firmware_rim_id(facts)}) {
      if (id.empty()) continue;
      out.rims.insert(id);
      const auto document = have.rims.find(id);
      if (document == have.rims.end()) continue;
      if (const auto rim = impl_->rim(document->second)) add_wanted((*rim)->chain, ChainKind::rim, out);
    }
  }
  return out;
}

Verifier::CacheUse Verifier::cache_use() const {
  return {impl_->chains.size(), impl_->rims.size(), impl_->answers.size()};
}

bool Verdict::affirming() const {
  return findings.empty() && !devices.empty() && std::ranges::all_of(devices, &DeviceVerdict::verified);
}

Result<void> Verdict::result() const {
  for (const DeviceVerdict& d : devices)
    if (!d.findings.empty()) {
      Finding first = d.findings.front();
      first.where = d.label + (first.where.empty() ? "" : ", " + first.where);
      return fail(to_error(first));
    }
  if (!findings.empty()) return fail(to_error(findings.front()));
  if (affirming()) return {};
  return fail(to_error({Failure::no_device, "", ""}));
}

}  // namespace cairn::nvidia
