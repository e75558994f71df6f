"""cairn-aa and cairn-cdh as processes, against a key broker written here with another cryptographic library."""

import base64
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from peers import b64url, canonical, free_port, unb64url

BIN = pathlib.Path(os.environ.get("CAIRN_BIN", pathlib.Path(__file__).parents[2] / "build" / "dev" / "bin"))
SECRET = b"0Bn4Q1wwY9fN3P\n"
KEY_URI = "kbs:///default/aliyun/model-decryption-key"


def number(text):
    return int.from_bytes(unb64url(text), "big")


def wrap_p1(jwk, secret):
    key, iv = os.urandom(32), os.urandom(12)
    public = rsa.RSAPublicNumbers(number(jwk["e"]), number(jwk["n"])).public_key()
    return {"protected": '{"alg":"RSA1_5","enc":"A256GCM"}', "encrypted_key": b64url(public.encrypt(key, padding.PKCS1v15())),
            "iv": b64url(iv), "ciphertext": b64url(AESGCM(key).encrypt(iv, secret, None)), "tag": ""}


def wrap_p2(jwk, secret):
    key, iv = os.urandom(32), os.urandom(12)
    peer = ec.EllipticCurvePublicNumbers(number(jwk["x"]), number(jwk["y"]), ec.SECP256R1()).public_key()
    mine = ec.generate_private_key(ec.SECP256R1())
    alg = b"ECDH-ES+A256KW"
    info = len(alg).to_bytes(4, "big") + alg + bytes(8) + (256).to_bytes(4, "big")
    kek = ConcatKDFHash(hashes.SHA256(), 32, info).derive(mine.exchange(ec.ECDH(), peer))
    point = mine.public_key().public_numbers()
    epk = {"crv": "P-256", "kty": "EC", "x": b64url(point.x.to_bytes(32, "big")), "y": b64url(point.y.to_bytes(32, "big"))}
    head = b64url(json.dumps({"alg": alg.decode(), "enc": "A256GCM", "epk": epk}, separators=(",", ":")).encode())
    sealed = AESGCM(key).encrypt(iv, secret, head.encode())
    return {"protected": head, "encrypted_key": b64url(aes_key_wrap(kek, key)), "iv": b64url(iv),
            "ciphertext": b64url(sealed[:-16]), "tag": b64url(sealed[-16:])}


class Broker(http.server.ThreadingHTTPServer):
    """RCAR as spec/guest.md §4 has it, for sample evidence; `refuse` names a refusal of the resource step."""

    def __init__(self, profile):
        self.profile, self.refuse, self.sessions, self.hits = profile, None, {}, []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/api"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, cookie=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        if cookie:
            self.send_header("Set-Cookie", f"kbs-session-id={cookie}; Expires=Fri, 01 Jan 2100 00:00:00 GMT")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, status, kind, detail):
        self.answer(status, {"type": f"https://github.com/confidential-containers/kbs/errors/{kind}", "detail": detail})

    def session(self):
        match = re.search(r"kbs-session-id=([0-9a-f]+)", self.headers.get("Cookie", ""))
        return self.server.sessions.get(match[1]) if match else None

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.hits.append(self.path)
        p1 = self.server.profile == "p1"
        if self.path == "/api/kbs/v0/auth":
            if body["version"] != ("0.1.0" if p1 else "0.4.0"):
                return self.refuse(500, "AttestationError", "KBS Client Protocol Version Mismatch")
            name, nonce = os.urandom(16).hex(), base64.b64encode(os.urandom(32)).decode()
            self.server.sessions[name] = {"nonce": nonce}
            return self.answer(200, {"nonce": nonce, "extra-params": ""}, name)
        session = self.session()
        key = body["tee-pubkey"] if p1 else body["runtime-data"]["tee-pubkey"]
        bound = {"nonce": session["nonce"], "tee-pubkey": key}
        evidence = json.loads(body["tee-evidence"]) if p1 else body["tee-evidence"]["primary_evidence"]
        if not p1:
            bound["additional-evidence"] = body["tee-evidence"]["additional_evidence"]
        if base64.b64decode(evidence["report_data"]) != hashlib.sha384(canonical(bound)).digest():
            return self.refuse(500, "AttestationError", "RCAR handshake Attest failed")
        session["key"] = key
        self.answer(200, {"token": "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"})

    def do_GET(self):
        self.server.hits.append(self.path)
        session = self.session()
        if not session or "key" not in session:
            return self.refuse(401, "TokenNotFound", "Attestation Token not found")
        if self.server.refuse:
            return self.refuse(*self.server.refuse)
        if self.path != "/api/kbs/v0/resource/default/aliyun/model-decryption-key":
            return self.refuse(500, "PluginInternalError", "Plugin internal error")
        self.answer(200, (wrap_p1 if self.server.profile == "p1" else wrap_p2)(session["key"], SECRET))


class Process:
    """A daemon with its log in a file; killed at the end whatever happens."""

    def __init__(self, folder, *arguments, env=None):
        self.log = folder / f"{arguments[0]}.{time.monotonic_ns()}.log"
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen([BIN / arguments[0], *map(str, arguments[1:])], stdout=log, stderr=log,
                                          env={**os.environ, **(env or {})})

    def text(self):
        return self.log.read_text()

    def wait_for(self, path, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(path))
                    return self
                except OSError:
                    pass
            assert self.child.poll() is None, self.text()
            time.sleep(0.02)
        raise AssertionError(f"{path} does not answer\n{self.text()}")

    def stop(self, how=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(how)
        return self.child.wait(timeout=20)


@pytest.fixture
def spawn(tmp_path):
    running = []

    def start(*arguments, **options):
        running.append(Process(tmp_path, *arguments, **options))
        return running[-1]

    yield start
    for process in running:
        process.stop(signal.SIGKILL)


@pytest.fixture(params=["p1", "p2"])
def broker(request):
    server = Broker(request.param)
    yield server
    server.shutdown()


@pytest.fixture
def agent(spawn, tmp_path, broker):
    path = tmp_path / "aa" / "aa.sock"
    return spawn("cairn-aa", "--tee", "sample", "--profile", broker.profile, "-a", f"unix://{path}",
                 env={"TRUSTEE_URL": broker.url}).wait_for(path), f"unix://{path}"


def cdh(*arguments, env=None):
    return subprocess.run([BIN / "cairn-cdh", *map(str, arguments)], capture_output=True, timeout=60,
                          env={**os.environ, **(env or {})})


def get_resource(broker, address, *more, uri=KEY_URI, options=()):
    return cdh("--trustee-url", broker.url, "--profile", broker.profile, "--aa-socket", address, *options,
               "get-resource", "--resource-uri", uri, *more)


def test_one_shot_prints_exactly_one_line_of_base64(broker, agent):
    done = get_resource(broker, agent[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout == base64.b64encode(SECRET) + b"\n"
    assert [h.rsplit("/", 1)[1] for h in broker.hits] == ["auth", "attest", "model-decryption-key"]
    assert SECRET.strip() not in done.stderr + agent[0].text().encode()


def test_one_shot_as_the_start_script_runs_it(broker, agent, tmp_path):
    config = tmp_path / "confidential-data-hub.toml"
    config.write_text(f'socket = "unix:///run/confidential-containers/cdh.sock"\n[kbc]\nname = "cc_kbc"\nurl = "{broker.url}"\n')
    done = cdh("-c", config, "--profile", broker.profile, "--aa-socket", agent[1], "get-resource", "--resource-uri", KEY_URI)
    assert done.returncode == 0, done.stderr
    assert base64.b64decode(done.stdout) == SECRET


def test_resource_path_is_written_private_and_whole(broker, agent, tmp_path):
    target = tmp_path / "key"
    done = get_resource(broker, agent[1], "--resource-path", target)
    assert done.returncode == 0 and done.stdout == b"", done.stderr
    assert target.read_bytes() == SECRET
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("key")] == ["key"]


@pytest.mark.parametrize("refusal,words", [
    ((403, "PolicyDeny", "Access denied by policy"), "HTTP 403 PolicyDeny: Access denied by policy"),
    ((404, "NotFound", "no such key"), "no such key"),
    ((500, "PluginInternalError", "Plugin internal error"), "PluginInternalError"),
    ((401, "TokenVerifierError", "Token Verifier error"), "Token Verifier error")])
def test_a_refusal_is_one_sentence_and_exit_code_1(broker, agent, tmp_path, refusal, words):
    broker.refuse = refusal
    started = time.monotonic()
    done = get_resource(broker, agent[1], "--resource-path", tmp_path / "key")
    assert done.returncode == 1 and done.stdout == b""
    last = done.stderr.decode().strip().splitlines()[-1]
    assert last.startswith("cairn-cdh: ") and words in last and "model-decryption-key" in last
    assert not (tmp_path / "key").exists()
    assert time.monotonic() - started < 5, "a refusal is not retried"


def test_nobody_answers_is_retried_with_pauses(agent, broker):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    done = cdh("-r", "2", "--trustee-url", f"http://127.0.0.1:{port}/api", "--aa-socket", agent[1], "get-resource",
               "--resource-uri", KEY_URI)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr.decode().count("trying again") == 2
    assert time.monotonic() - started > 0.4
    nobody = cdh("-r", "0", "--trustee-url", broker.url, "--aa-socket", "unix:///nonexistent/aa.sock", "get-resource",
                 "--resource-uri", KEY_URI)
    assert nobody.returncode == 1 and b"/nonexistent/aa.sock" in nobody.stderr


def test_usage_errors_are_told_before_any_network(broker):
    for arguments in (["get-resource"], ["nonsense"], ["-r", "x"]):
        assert cdh(*arguments).returncode == 2
    for uri in ("http:///a/b/c", "kbs:///a/b", "kbs:///a/b/../c"):
        assert cdh("--trustee-url", broker.url, "get-resource", "--resource-uri", uri).returncode == 1
    assert broker.hits == []


def test_unseal_needs_a_signature_or_the_option(broker, agent, tmp_path):
    payload = b64url(json.dumps({"version": "0.1.0", "type": "vault", "name": KEY_URI, "provider": "kbs",
                                 "provider_settings": {}, "annotations": {}}).encode())
    secret = tmp_path / "secret"
    secret.write_text(f"sealed.fakejwsheader.{payload}.fakesignature")
    common = ["--trustee-url", broker.url, "--profile", broker.profile, "--aa-socket", agent[1]]
    refused = cdh(*common, "unseal-secret", "-s", secret)
    assert refused.returncode == 1 and b"signature" in refused.stderr and broker.hits == []
    opened = cdh(*common, "--accept-unsigned-secrets", "unseal-secret", "-s", secret)
    assert opened.stdout == base64.b64encode(SECRET) + b"\n", opened.stderr
    old = cdh(*common, "unseal-secret", "-s", secret, env={"SKIP_SEALED_SECRET_VERIFICATION": "true"})
    assert old.returncode == 0, old.stderr


def test_mounting_and_pulling_are_refused_with_advice(tmp_path):
    storage = tmp_path / "storage.json"
    storage.write_text('{"volume_type":"alibaba-cloud-oss","options":{},"flags":[],"mount_point":"/m"}')
    mount = cdh("secure-mount", "-s", storage)
    assert mount.returncode == 1 and b"cairn-cachefs" in mount.stderr and mount.stdout == b""
    assert cdh("pull-image", "-i", "x", "-b", "/y").returncode == 1


def http_get(port, path, method="GET"):
    for _ in range(100):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        except ConnectionRefusedError:
            time.sleep(0.05)
    raise AssertionError("the façade does not answer")


def test_rest_over_both_daemons(broker, agent, spawn, tmp_path):
    hub = tmp_path / "cdh.sock"
    config = tmp_path / "cdh.toml"
    config.write_text(f'socket = "unix://{hub}"\naa_socket = "{agent[1]}"\n[kbc]\nname = "cc_kbc"\nurl = "{broker.url}"\n')
    daemon = spawn("cairn-cdh", "-c", config, "--profile", broker.profile).wait_for(hub)
    port = free_port()
    rest = spawn("cairn-cdh", "rest", "-b", f"127.0.0.1:{port}", "-f", "all", "-a", agent[1], "-c", f"unix://{hub}",
                 "--profile", broker.profile)
    assert http_get(port, "/cdh/resource/default/aliyun/model-decryption-key") == (200, SECRET)
    assert http_get(port, "/cdh/resource/default/aliyun/other")[0] == 500
    status, evidence = http_get(port, "/aa/evidence?runtime_data=a%20b")
    assert status == 200 and base64.b64decode(json.loads(evidence)["report_data"]) == b"a b"
    assert http_get(port, "/aa/evidence?runtime_data=a&x=y")[0] == 405
    assert http_get(port, "/aa/evidence?other=a") == (400, b"BAD REQUEST")
    assert http_get(port, "/aa/token?token_type=kbs", "POST")[0] == 405
    status, token = http_get(port, "/aa/token?token_type=kbs")
    assert status == 200 and "PRIVATE KEY" in json.loads(token)["tee_keypair"]
    assert http_get(port, "/nothing") == (404, b"")
    if broker.profile == "p2":
        assert json.loads(http_get(port, "/info")[1])["tee"] == "sample"
    assert stat.S_IMODE(hub.stat().st_mode) == 0o600
    for process in (rest, daemon, agent[0]):
        assert process.stop() == 0, process.text()
        assert "PRIVATE KEY" not in process.text() and SECRET.decode().strip() not in process.text()
    assert not hub.exists() and not pathlib.Path(agent[1][7:]).exists()


def test_agent_survives_kill_with_log_and_register_in_step(spawn, tmp_path):
    sock, state, log = tmp_path / "aa.sock", tmp_path / "sim", tmp_path / "log" / "eventlog"
    machine = ["cairn-aa", "--tee", "simulated", "--simulator-state", state, "--enable-event-log", "--event-log", log]
    arguments = [*machine, "-a", f"unix://{sock}"]
    first = spawn(*arguments).wait_for(sock)
    rival = spawn(*machine, "-a", f"unix://{tmp_path}/other.sock")
    assert rival.child.wait(timeout=20) == 1
    assert "another attestation agent writes this event log" in rival.text()
    first.stop(signal.SIGKILL)
    assert sock.exists()  # stale
    second = spawn(*arguments).wait_for(sock)
    probe = subprocess.run([BIN / "cairn-aa", "--probe", "-a", f"unix://{sock}"], capture_output=True, timeout=20)
    assert probe.stdout == b"tdx\n", probe.stderr
    assert "invalid" not in second.text()
    assert second.stop() == 0
    log.write_text(log.read_text() + "d o never-extended\n" * 2)
    third = spawn(*arguments).wait_for(sock)
    assert "takes no events" in third.text()
    assert third.stop() == 0


def test_gpus_are_judged_before_anybody_is_served(spawn, tmp_path):
    sock, config = tmp_path / "aa.sock", tmp_path / "aa.toml"
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libnvidia-ml.so.1").symlink_to(BIN.parent / "src/device/libcairn_fake_nvml.so")

    def start(*arguments):
        return spawn("cairn-aa", "--tee", "simulated", "--simulator-state", tmp_path / "sim", "-a", f"unix://{sock}", *arguments,
                     env={"LD_LIBRARY_PATH": str(tmp_path / "lib")})
    required = start("--gpu", "required")  # what the library reports is no report
    assert required.child.wait(timeout=20) == 1
    assert "the GPUs are not made ready" in required.text() and not sock.exists()
    left_out = start().wait_for(sock)
    assert "the GPUs are not made ready" in left_out.text()
    assert left_out.stop() == 0
    config.write_text('[gpu]\nready = "unverified"\n')
    trusting = start("--gpu", "required", "-c", config).wait_for(sock)
    assert "without verification" in trusting.text() and "not made ready" not in trusting.text()
    assert trusting.stop() == 0


def test_agent_refuses_what_cannot_work(tmp_path):
    def start(*arguments, env=None):
        return subprocess.run([BIN / "cairn-aa", "-a", f"unix://{tmp_path}/x.sock", *map(str, arguments)], capture_output=True,
                              timeout=20, env={**os.environ, **(env or {})})
    bad = tmp_path / "bad.toml"
    bad.write_text('[eventlog_config]\neventlog_algorithm = "sha256"\nenable_event_log = true\n')
    done = start("--tee", "sample", "-c", bad)
    assert done.returncode == 1 and b"sha384" in done.stderr and b"enable_eventlog" in done.stderr
    assert start("--tee", "sample", "-c", tmp_path / "none.toml").returncode == 1
    assert start("--tee", "sample", "--enable-event-log").returncode == 1
    assert start("--tee", "sample", env={"SYSTEM_ATTESTATION": "true"}).returncode == 1
    assert start("--tee", "nonsense").returncode == 1
    assert start("--tee", "simulated").returncode == 1
    if not pathlib.Path("/dev/tdx_guest").exists():
        assert start().returncode == 1


@pytest.mark.parametrize("program", ["cairn-aa", "cairn-cdh"])
def test_every_option_is_documented(program):
    page = (pathlib.Path(__file__).parents[2] / "docs" / f"{program}.md").read_text()
    text = subprocess.run([BIN / program, "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
    commands = ["get-resource", "unseal-secret", "unwrap-key", "secure-mount", "pull-image", "rest"] if program == "cairn-cdh" else []
    for command in commands:
        text += subprocess.run([BIN / program, command, "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
    missing = [o for o in sorted(set(re.findall(r"--[a-z][a-z_-]+", text))) if f"`{o}" not in page and f"{o}`" not in page]
    assert not missing
    assert all(f"`{c}" in page for c in commands)
