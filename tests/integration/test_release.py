"""A key released by cairn-trustee to a simulated machine through cairn-aa and cairn-cdh, and not released when anything
about the machine changes. The agent is driven by a ttrpc client written here."""

import base64
import hashlib
import json
import os
import pathlib
import re
import socket
import struct
import sys
import time
import urllib.error
import urllib.request

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from test_guest import BIN, Process, b64url, cdh, free_port  # noqa: E402

KEY = b"0Bn4Q1wwY9fN3P"
MODEL = "sha384:" + hashlib.sha384(b"weights").hexdigest()


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data):
    at, out = 0, {}

    def number():
        nonlocal at
        shift = value = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 2:
            size = number()
            out[key >> 3] = data[at:at + size]
            at += size
        else:
            out[key >> 3] = number()
    return out


def agent_call(sock, method, payload=b""):
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(30)
        stream.connect(str(sock))
        body = field(1, b"attestation_agent.AttestationAgentService") + field(2, method.encode()) + field(3, payload)
        stream.sendall(struct.pack(">IIBB", len(body), 1, 1, 0) + body)
        data = b""
        while len(data) < 10 or len(data) < 10 + struct.unpack(">I", data[:4])[0]:
            chunk = stream.recv(1 << 20)
            assert chunk, "the agent closed the connection"
            data += chunk
    answer = fields(data[10:])
    status = fields(answer.get(1, b""))
    if status.get(1):
        raise RuntimeError(status[2].decode())
    return answer.get(2, b"")


def extend(sock, domain, operation, content):
    agent_call(sock, "ExtendRuntimeMeasurement", field(1, domain.encode()) + field(2, operation.encode()) + field(3, content.encode()))


class Machine:
    def __init__(self, folder, profile, spawn):
        self.folder, self.profile, self.spawn = folder, profile, spawn
        self.sock, self.log = folder / "aa.sock", folder / "log" / "eventlog"
        self.agent = self.start_agent(self.sock, self.log)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        (folder / "trustee.toml").write_text(
            f'data = "{folder}/trustee"\nlisten = "127.0.0.1:{self.port}"\n[verifier.tdx]\nbundles = ["{folder}/sim/collateral.json"]\n'
            f'[[verifier.tdx.extra_roots]]\npath = "{folder}/sim/root.pem"\nsimulated = true\n')
        self.trustee = spawn("cairn-trustee", "-c", folder / "trustee.toml")
        self.wait_for_trustee()

    def start_agent(self, sock, log):
        return self.spawn("cairn-aa", "--tee", "simulated", "--simulator-state", self.folder / "sim", "--profile", self.profile,
                          "-a", f"unix://{sock}", "--enable-event-log", "--event-log", log).wait_for(sock)

    def wait_for_trustee(self):
        for _ in range(400):
            try:
                health = json.load(urllib.request.urlopen(self.url + "/services-health", timeout=5))
                assert all(service["status"] == "ok" for service in health.values())
                return
            except (urllib.error.URLError, ConnectionError):
                assert self.trustee.child.poll() is None, self.trustee.text()
                time.sleep(0.05)
        raise AssertionError(self.trustee.text())

    def admin(self, path, body):
        key = load_pem_private_key((self.folder / "trustee/private.key").read_bytes(), None)
        claims = {"iat": int(time.time()), "exp": int(time.time()) + 600}
        text = b64url(b'{"alg":"EdDSA","typ":"JWT"}') + "." + b64url(json.dumps(claims).encode())
        request = urllib.request.Request(self.url + path, body, method="POST")
        request.add_header("Authorization", f"Bearer {text}.{b64url(key.sign(text.encode()))}")
        request.add_header("Content-Type", "application/json")
        return urllib.request.urlopen(request, timeout=30).status

    def measure_and_register(self):
        extend(self.sock, "measure.cairn.v1", "begin/1", "sha384:" + hashlib.sha384(b"boot").hexdigest())
        extend(self.sock, "measure.cairn.v1", "model/smol", MODEL)
        evidence = json.loads(fields(agent_call(self.sock, "GetEvidence", field(1, bytes(48))))[1])
        body = base64.b64decode(evidence["quote"])[48:]
        values = {"tdx.quote.body.mr_td": [body[136:184].hex()], "measurement.model.smol": [MODEL]}
        for i in range(3):
            values[f"tdx.quote.body.rtmr_{i}"] = [body[328 + 48 * i:376 + 48 * i].hex()]
        payload = base64.b64encode(json.dumps(values).encode()).decode()
        message = json.dumps({"version": "0.1.0", "type": "sample", "payload": payload})
        assert self.admin("/rvps/register", json.dumps({"message": message}).encode()) == 200
        assert self.admin("/kbs/v0/resource/default/aliyun/model-decryption-key", KEY) == 200

    def fetch(self, *options):
        return cdh("--trustee-url", self.url, "--profile", self.profile, "--aa-socket", f"unix://{self.sock}", *options,
                   "get-resource", "--resource-uri", "kbs:///default/aliyun/model-decryption-key")

    def refused(self):
        done = self.fetch()
        assert done.returncode == 1 and done.stdout == b""
        sentence = done.stderr.decode().strip().splitlines()[-1]
        assert sentence.startswith("cairn-cdh: ") and "the key broker refused" in sentence
        return sentence


@pytest.fixture(params=["p1", "p2"])
def machine(request, tmp_path):
    if not (BIN / "cairn-trustee").exists():
        pytest.skip("cairn-trustee is not built")
    running = []

    def spawn(*arguments, **options):
        running.append(Process(tmp_path, *arguments, **options))
        return running[-1]

    try:
        yield Machine(tmp_path, request.param, spawn)
    finally:
        for process in running:
            process.stop(9)


def test_the_key_goes_to_the_machine_that_was_registered(machine):
    assert "not registered" in machine.refused()
    machine.measure_and_register()
    done = machine.fetch()
    assert done.returncode == 0, done.stderr.decode() + machine.trustee.text()
    assert base64.b64decode(done.stdout) == KEY
    token = json.loads(fields(agent_call_token(machine))[1])["token"]
    assert token.count(".") == 2
    assert KEY not in machine.agent.text().encode() + machine.trustee.text().encode()


def agent_call_token(machine):
    machine.agent.stop()
    machine.agent = machine.spawn("cairn-aa", "--tee", "simulated", "--simulator-state", machine.folder / "sim", "--profile", machine.profile,
                                  "-a", f"unix://{machine.sock}", "--enable-event-log", "--event-log", machine.log,
                                  env={"TRUSTEE_URL": machine.url}).wait_for(machine.sock)
    agent_call(machine.sock, "GetTeeType")
    assert fields(agent_call(machine.sock, "GetToken", field(1, b"coco_as")))[1].count(b".") == 2
    return agent_call(machine.sock, "GetToken", field(1, b"kbs"))


def test_an_event_nobody_registered(machine):
    machine.measure_and_register()
    assert machine.fetch().returncode == 0
    extend(machine.sock, "measure.cairn.v1", "model/other", "sha384:" + "0" * 96)
    assert "other" in machine.refused()


def test_an_entry_dropped_from_the_event_log(machine):
    machine.measure_and_register()
    machine.agent.stop()
    text = machine.log.read_bytes()
    if machine.profile == "p1":
        machine.log.write_bytes(b"".join(line for line in text.splitlines(True) if b"begin/1" not in line))
    else:
        at = text.index(b"begin/1")
        end = text.index(struct.pack("<III", 4, 6, 1), at)
        machine.log.write_bytes(text[end:])
    machine.agent = machine.start_agent(machine.sock, machine.log)
    assert "takes no events" in machine.agent.text()
    sentence = machine.refused()
    assert re.search("event|log|RTMR", sentence), sentence


def test_an_extension_that_no_log_names(machine):
    machine.measure_and_register()
    other = machine.folder / "other.sock"
    machine.start_agent(other, machine.folder / "other-log" / "eventlog")  # the same machine, another log
    if machine.profile == "p2":  # its log would begin at a register that nothing explains: it leaves the register alone
        with pytest.raises(RuntimeError, match="AA extend runtime measurement failed"):
            extend(other, "d", "o", "c")
        assert machine.fetch().returncode == 0
        return
    sentence = machine.refused()  # p1: the other log's INIT line went into the register
    assert re.search("RTMR3|event log|replay", sentence), sentence
