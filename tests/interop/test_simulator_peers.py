"""Evidence of the simulator judged by dcap-qvl, a verifier by others: the sound platform and every scenario."""

import base64
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

BIN = pathlib.Path(os.environ.get("CAIRN_BIN", pathlib.Path(__file__).resolve().parents[2] / "build/dev/bin"))
CAIRN = BIN / "cairn"
PEER = "dcap-qvl==0.7.0"

ACCEPTED = {"none": "UpToDate", "quote-replay": "UpToDate", "tcb-sw-hardening": "SWHardeningNeeded",
            "tcb-configuration": "ConfigurationNeeded", "tcb-out-of-date": "OutOfDate"}
REFUSED = {
    "tcb-revoked": "Revoked", "tcb-unsupported": "No matching TCB level", "pck-revoked": "CertRevoked",
    "pck-expired": "CertExpired", "ca-revoked": "CertRevoked", "tcb-signing-revoked": "CertRevoked",
    "collateral-expired": "TCBInfo expired", "crl-expired": "CrlExpired", "wrong-fmspc": "Fmspc mismatch",
    "tcb-info-signature": "tcb_info", "qe-identity-mismatch": "MRSIGNER mismatch", "other-root": "CRL",
    "td-debug": "Debug mode", "td-sept-ve-clear": "SEPT_VE_DISABLE", "td-service": "service td",
    "module-mismatch": "TDX module", "quote-flip": "signature is invalid", "quote-signature": "signature is invalid",
    "qe-report-signature": "qe_report", "qe-report-data": "QE report hash", "quote-truncated": "decode quote",
}

pytestmark = pytest.mark.skipif(
    not CAIRN.exists() or subprocess.run([CAIRN, "attest", "--help"], capture_output=True).returncode != 0,
    reason="cairn is not built")


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peer")
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), PEER],
                          capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        pytest.skip(f"{PEER} cannot be installed here")
    sys.path.insert(0, str(folder))
    return pytest.importorskip("dcap_qvl", reason=f"{PEER} does not run here")


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    return tmp_path_factory.mktemp("simulator") / "td"


def quote_under(platform, scenario):
    done = subprocess.run([CAIRN, "attest", "--tee", "simulated", "--simulator", platform, "--scenario", scenario,
                           "--format", "quote", "--output", platform.parent / "quote.bin"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return (platform.parent / "quote.bin").read_bytes()


def as_peer_wants(bundle):
    """Our bundle in the peer's member names: signed bodies taken apart without touching the signed bytes."""
    out = {"pck_crl_issuer_chain": bundle["pck_crl_issuer_chain"],
           "tcb_info_issuer_chain": bundle["tcb_signing_chain"], "qe_identity_issuer_chain": bundle["qe_signing_chain"],
           "root_ca_crl": base64.b64decode(bundle["root_crl"]).hex(), "pck_crl": base64.b64decode(bundle["pck_crl"]).hex()}
    for member, name, body in (("tcb_info", "tcbInfo", bundle["tcb_info"]),
                               ("qe_identity", "enclaveIdentity", bundle["qe_identity"])):
        signed = re.fullmatch(r'\{"%s":(\{.*\}),"signature":"([0-9a-f]{128})"\}' % name, body, re.S)
        assert signed, body[:100]
        out[member], out[member + "_signature"] = signed.groups()
    return out


def judge(peer, platform, quote):
    bundle = json.loads((platform / "collateral.json").read_text())
    root = base64.b64decode(re.sub(r"-----[^-]+-----|\s", "", (platform / "root.pem").read_text()))
    collateral = peer.QuoteCollateralV3.from_json(json.dumps(as_peer_wants(bundle)))
    return peer.verify_with_root_ca(quote, collateral, root, int(time.time()))


@pytest.mark.parametrize("scenario", ACCEPTED)
def test_accepted_with_the_status_meant(peer, platform, scenario):
    assert judge(peer, platform, quote_under(platform, scenario)).status == ACCEPTED[scenario]


@pytest.mark.parametrize("scenario", REFUSED)
def test_refused_for_the_reason_meant(peer, platform, scenario):
    quote = quote_under(platform, scenario)
    with pytest.raises(Exception, match="(?i)" + REFUSED[scenario]):
        judge(peer, platform, quote)


def test_not_under_the_vendors_root(peer, platform):
    quote = quote_under(platform, "none")
    bundle = json.loads((platform / "collateral.json").read_text())
    collateral = peer.QuoteCollateralV3.from_json(json.dumps(as_peer_wants(bundle)))
    with pytest.raises(Exception):
        peer.verify(quote, collateral, int(time.time()))
