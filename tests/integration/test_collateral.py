"""Collateral from a service, over HTTP and HTTPS: the vectors' through `cairn verify`, a simulated platform's through
cairn-trustee, and what happens when the service is away, slow or wrong."""

import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from mock_pcs import MockPcs, bundle_of_case, self_signed
from peers import b64url

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("CAIRN_BIN", ROOT / "build" / "dev" / "bin"))
DATA = ROOT.parent / "shared" / "data" / "tdx"


# ---------------------------------------------------------------------------------------------------- cairn verify

CASES = json.loads((DATA / "cases-real.json").read_text())["cases"] if DATA.exists() else []


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.mark.skipif(not CASES, reason="shared data not present")
@pytest.mark.skipif(not (BIN / "cairn").exists(), reason="cairn is not built")
@pytest.mark.parametrize("case", CASES, ids=lambda c: c["id"])
def test_vectors_through_a_service(case, tls, tmp_path):
    secure = case["id"][0] == "t"
    (tmp_path / "qcnl.conf").write_text('{ // as operators have it\n "use_secure_cert": false,'
                                        ' "pccs_url": "URL/sgx/certification/v4/" }')
    with MockPcs(bundle_of_case(DATA, case), tls if secure else None, pccs=not secure) as pcs:
        conf = tmp_path / "qcnl.conf"
        conf.write_text(conf.read_text().replace("URL", pcs.url))
        source = ["--qcnl", conf] if secure else ["--pccs", pcs.url]
        done = subprocess.run([BIN / "cairn", "verify", "--json", "--at", case["time"], *source, DATA / case["quote"]],
                              capture_output=True, text=True, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}, timeout=60)
    assert len(pcs.asked) >= 1
    verdicts = json.loads(done.stdout)
    wanted = [case["required"], *case.get("also_ok", [])]
    if verdicts:
        assert verdicts[0]["outcome"] in wanted
        return
    # Refused before the quote was looked at: by the service (which has no TCB info of that platform), or as collateral.
    assert done.returncode in (1, 2)
    if "404" in done.stderr:
        assert case["required"] in ("FmspcMismatch", "TcbInfoId")
    else:
        assert any(f"tdx.{name}" in done.stderr for name in wanted), done.stderr


# ---------------------------------------------------------------------------------------------------- cairn-trustee

@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """(evidence, collateral bundle, root file) of a simulated machine."""
    if not (BIN / "cairn").exists() or not (BIN / "cairn-trustee").exists():
        pytest.skip("cairn and cairn-trustee are not built")
    folder = tmp_path_factory.mktemp("machine")
    done = subprocess.run([BIN / "cairn", "attest", "--tee", "simulated", "--simulator", folder / "td", "--report-data", "00",
                           "--output", folder / "evidence.json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return (json.loads((folder / "evidence.json").read_text()), json.loads((folder / "td/collateral.json").read_text()),
            folder / "td/root.pem")


class Trustee:
    def __init__(self, folder, root, settings, environment=None):
        self.folder, self.log = folder, folder / f"log-{time.monotonic_ns()}"
        config = folder / "trustee.toml"
        config.write_text(f'[verifier.tdx]\nextra_roots = [{{path = "{root}", simulated = true}}]\n{settings}\n')
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BIN / "cairn-trustee", "--data", folder / "data", "--listen", "127.0.0.1:0",
                                             "--config", config], stderr=log, env={**os.environ, **(environment or {})})
        for _ in range(300):
            if found := re.findall(r"gateway on http://127\.0\.0\.1:(\d+)", self.log.read_text()):
                self.url = f"http://127.0.0.1:{found[-1]}/api"
                break
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(40) == 0, self.log.read_text()

    def ask(self, path, body=None):
        request = urllib.request.Request(self.url + path, body and json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=40) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def attest(self, evidence):
        """(status, reason): a token whatever the policy thinks of the machine, or why its quote was refused."""
        status, body = self.ask("/as/attestation", {"verification_requests": [
            {"tee": "tdx", "evidence": b64url(json.dumps(evidence).encode())}]})
        return status, "" if status == 200 else json.loads(body)["reason"]

    def platforms(self):
        dependencies = json.loads(self.ask("/as/status")[1])["dependencies"]
        return next(d for d in dependencies if d["kind"] == "collateral")["details"]["platforms"]


def test_one_fetch_for_many_then_memory_then_disk(machine, tmp_path):
    evidence, bundle, root = machine
    with MockPcs(bundle, pccs=True) as pcs:
        pcs.delay = 0.2
        settings = f'pccs_url = "{pcs.url}"\ntcb_update = "early"'
        with Trustee(tmp_path, root, settings) as trustee:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                assert set(pool.map(trustee.attest, [evidence] * 8)) == {(200, "")}
            assert len(pcs.asked) == 4 and "update=early" in pcs.asked[0]
            pcs.status = 503
            assert trustee.attest(evidence) == (200, "")
            assert [p["state"] for p in trustee.platforms()] == ["ready"]
            assert "collateral of tdx/" in trustee.log.read_text()
            with urllib.request.urlopen(trustee.url.removesuffix("/api") + "/metrics", timeout=10) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                metrics = answer.read().decode()
            assert 'cairn_trustee_collateral_fetches_total{kind="tdx"} 1\n' in metrics
            assert 'cairn_trustee_collateral_failures_total{kind="tdx"} 0\n' in metrics
            assert 'cairn_trustee_collateral_held{kind="tdx"} 1\n' in metrics
        with Trustee(tmp_path, root, settings) as trustee:
            assert trustee.attest(evidence) == (200, "")
    assert len(pcs.asked) == 4


def test_a_service_that_is_away_or_wrong_fails_closed(machine, tmp_path):
    evidence, bundle, root = machine
    ways = {"503": (dict(status=503), (503, "collateral")),
            "404": (dict(status=404), (422, "tdx.UnknownPlatform")),
            "junk": (dict(change={"tcb": lambda b: b"{}"}), (422, "tdx.TcbInfoFormat")),
            "crl": (dict(change={"pckcrl": lambda b: b[:-1] + bytes([b[-1] ^ 1])}), (422, "tdx.CrlSignature")),
            "signature": (dict(change={"qe": lambda b: b.replace(b"isvprodid", b"isvprodix")}), (422, "tdx.QeIdentitySignature"))}
    for way, (fault, wanted) in ways.items():
        folder = tmp_path / way
        folder.mkdir()
        with MockPcs(bundle) as pcs, Trustee(folder, root, f'pccs_url = "{pcs.url}"') as trustee:
            for name, value in fault.items():
                setattr(pcs, name, value)
            assert trustee.attest(evidence) == wanted, trustee.log.read_text()
            assert trustee.platforms() == []
    with MockPcs(bundle) as pcs:
        pass
    with Trustee(tmp_path, root, f'pccs_url = "{pcs.url}"') as trustee:
        assert trustee.attest(evidence) == (503, "collateral")


def test_who_waits_for_the_service_keeps_nobody_else_waiting(machine, tmp_path):
    evidence, bundle, root = machine
    with MockPcs(bundle) as pcs, Trustee(tmp_path, root, f'pccs_url = "{pcs.url}"') as trustee:
        pcs.delay = 1.5
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            waiting = [pool.submit(trustee.attest, evidence) for _ in range(12)]
            time.sleep(0.5)
            start = time.monotonic()
            assert trustee.ask("/services-health")[0] == 200
            assert time.monotonic() - start < 1.0
            assert not any(w.done() for w in waiting)
            assert {w.result() for w in waiting} == {(200, "")}


def test_the_service_of_the_qcnl_file_and_its_certificate(machine, tls, tmp_path):
    evidence, bundle, root = machine
    conf = tmp_path / "qcnl.conf"
    for name, secure, settings, wanted in (("checked", True, "", 503), ("unchecked", False, "", 200),
                                           ("named", True, f'pccs_ca = "{tls[0]}"', 200)):
        folder = tmp_path / name
        folder.mkdir()
        with MockPcs(bundle, tls) as pcs:
            conf.write_text(json.dumps({"pccs_url": pcs.url + "/sgx/certification/v4/", "use_secure_cert": secure}))
            with Trustee(folder, root, settings, {"QCNL_CONF_PATH": str(conf)}) as trustee:
                assert trustee.attest(evidence)[0] == wanted, trustee.log.read_text()
