"""cairn-trustee as a process, asked by a client written here with another cryptographic library: both protocols from
the first request to the opened resource, tokens and their certificates, administration, restart."""

import base64
import hashlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from peers import b64url, canonical, unb64url

BIN = pathlib.Path(os.environ.get("CAIRN_BIN", pathlib.Path(__file__).parents[2] / "build" / "dev" / "bin"))
SECRET = b"0Bn4Q1wwY9fN3P"
RESOURCE = "/api/kbs/v0/resource/default/aliyun/model-decryption-key"
VALUES = {"sample.svn": ["1"], "sample.launch_digest": ["abcde"], "sampledevice.svn": ["2"]}


def sha384(data):
    return hashlib.sha384(data).digest()


class Trustee:
    def __init__(self, folder, *arguments):
        self.data = folder / "data"
        self.log = folder / f"log-{len(list(folder.glob('log-*')))}"
        config = folder / "trustee.toml"
        config.write_text("[verifier.sample]\nenabled = true\n")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([BIN / "cairn-trustee", "--data", self.data, "--listen", "127.0.0.1:0", "--config",
                                             config, *arguments], stderr=log)
        self.port = self._wait_for_port()

    def _wait_for_port(self):
        for _ in range(300):
            found = re.findall(r"gateway on http://127\.0\.0\.1:(\d+)", self.log.read_text())
            if found and "ready" in self.log.read_text().rsplit("gateway on", 1)[1]:
                return int(found[-1])
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()

    def admin(self):
        key = serialization.load_pem_private_key((self.data / "private.key").read_bytes(), None)
        now = int(time.time())
        signed = b64url(b'{"alg":"EdDSA","typ":"JWT"}') + "." + b64url(json.dumps({"iat": now, "nbf": now, "exp": now + 60}).encode())
        return {"Authorization": "Bearer " + signed + "." + b64url(key.sign(signed.encode()))}

    def register(self, values):
        message = {"version": "0.1.0", "type": "sample", "payload": base64.b64encode(json.dumps(values).encode()).decode()}
        status, _, body = self.ask("POST", "/api/rvps/register", json.dumps({"message": json.dumps(message)}), self.admin())
        assert status == 200, body

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(40) == 0, self.log.read_text()


@pytest.fixture
def trustee(tmp_path):
    if not (BIN / "cairn-trustee").exists():
        pytest.skip("cairn-trustee is not built")
    server = Trustee(tmp_path)
    yield server
    if server.process.poll() is None:
        server.stop()


class P1:
    version = "0.1.0"

    def __init__(self):
        self.key = rsa.generate_private_key(65537, 2048)
        n = self.key.public_key().public_numbers()
        self.jwk = {"kty": "RSA", "alg": "RSA1_5", "n": b64url(n.n.to_bytes(256, "big")), "e": "AQAB"}

    def auth(self):
        return {"version": self.version, "tee": "sample", "extra-params": ""}

    def attest(self, nonce):
        bound = sha384(canonical({"nonce": nonce, "tee-pubkey": self.jwk}))
        return {"tee-pubkey": self.jwk,
                "tee-evidence": json.dumps({"svn": "1", "report_data": base64.b64encode(bound).decode()})}

    def open(self, answer):
        assert answer["protected"] == '{"alg":"RSA1_5","enc":"A256GCM"}' and answer["tag"] == ""
        key = self.key.decrypt(unb64url(answer["encrypted_key"]), padding.PKCS1v15())
        return AESGCM(key).decrypt(unb64url(answer["iv"]), unb64url(answer["ciphertext"]), None)


class P2:
    version = "0.4.0"

    def auth(self):
        return {"version": self.version, "tee": "sample", "extra-params": {"supported-hash-algorithms": ["sha384"]}}

    def attest(self, nonce):
        device = {"nonce": nonce, "tee-pubkey": self.jwk}
        extra = json.dumps({"sampledevice": {"svn": "2", "report_data": base64.b64encode(sha384(canonical(device))).decode()}})
        bound = sha384(canonical({**device, "additional-evidence": extra}))
        return {"init-data": None, "runtime-data": device,
                "tee-evidence": {"primary_evidence": {"svn": "1", "report_data": base64.b64encode(bound).decode()},
                                 "additional_evidence": extra}}

    def decrypt(self, answer, key):
        # RFC 7516: the additional data is the protected header as it was received.
        sealed = unb64url(answer["ciphertext"]) + unb64url(answer["tag"])
        return AESGCM(key).decrypt(unb64url(answer["iv"]), sealed, answer["protected"].encode())


class P2Ec(P2):
    def __init__(self, curve=ec.SECP256R1(), name="P-256", size=32):
        self.key, self.curve = ec.generate_private_key(curve), curve
        point = self.key.public_key().public_numbers()
        self.jwk = {"kty": "EC", "crv": name, "alg": "ECDH-ES+A256KW", "x": b64url(point.x.to_bytes(size, "big")),
                    "y": b64url(point.y.to_bytes(size, "big"))}

    def open(self, answer):
        text = unb64url(answer["protected"])
        header = json.loads(text)
        # Clients of the field rebuild the header in this order and use it as additional data.
        assert text == json.dumps({k: header[k] for k in ("alg", "enc", "epk")}, separators=(",", ":")).encode()
        epk = ec.EllipticCurvePublicNumbers(*(int.from_bytes(unb64url(header["epk"][c]), "big") for c in "xy"), self.curve)
        alg = b"ECDH-ES+A256KW"
        info = len(alg).to_bytes(4, "big") + alg + bytes(8) + (256).to_bytes(4, "big")
        kek = ConcatKDFHash(hashes.SHA256(), 32, info).derive(self.key.exchange(ec.ECDH(), epk.public_key()))
        return self.decrypt(answer, aes_key_unwrap(kek, unb64url(answer["encrypted_key"])))


class P2Ec521(P2Ec):
    def __init__(self):
        super().__init__(ec.SECP521R1(), "P-521", 66)


class P2Rsa(P2):
    def __init__(self):
        self.key = rsa.generate_private_key(65537, 2048)
        n = self.key.public_key().public_numbers()
        self.jwk = {"kty": "RSA", "alg": "RSA-OAEP-256", "n": b64url(n.n.to_bytes(256, "big")), "e": "AQAB"}

    def open(self, answer):
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        return self.decrypt(answer, self.key.decrypt(unb64url(answer["encrypted_key"]), oaep))


def handshake(trustee, client):
    status, headers, body = trustee.ask("POST", "/api/kbs/v0/auth", json.dumps(client.auth()), {"Content-Type": "application/json"})
    assert status == 200, body
    cookie = {"Cookie": headers["Set-Cookie"].split(";")[0]}
    return cookie, trustee.ask("POST", "/api/kbs/v0/attest", json.dumps(client.attest(json.loads(body)["nonce"])), cookie)


def verified_claims(jwt, ca_pem):
    """Signature by x5c[0], which the authority signed, and which holds the header's key."""
    header, payload, signature = jwt.split(".")
    head = json.loads(unb64url(header))
    leaf, ca = (x509.load_der_x509_certificate(unb64url(c)) for c in head["jwk"]["x5c"])
    authority = x509.load_pem_x509_certificate(ca_pem)
    assert ca == authority
    leaf.verify_directly_issued_by(authority)
    signed, raw = (header + "." + payload).encode(), unb64url(signature)
    if head["alg"] == "RS384":
        leaf.public_key().verify(raw, signed, padding.PKCS1v15(), hashes.SHA384())
        assert head["jwk"]["n"] == b64url(leaf.public_key().public_numbers().n.to_bytes(256, "big"))
    else:
        assert head["alg"] == "ES256"
        half = [int.from_bytes(raw[i:i + 32], "big") for i in (0, 32)]
        leaf.public_key().verify(utils.encode_dss_signature(*half), signed, ec.ECDSA(hashes.SHA256()))
        assert head["jwk"]["x"] == b64url(leaf.public_key().public_numbers().x.to_bytes(32, "big"))
    return json.loads(unb64url(payload))


@pytest.mark.parametrize("kind", [P1, P2Ec, P2Ec521, P2Rsa])
def test_key_is_released_to_registered_machines_only(trustee, kind):
    client = kind()
    assert trustee.ask("POST", RESOURCE, SECRET, trustee.admin())[0] == 200
    cookie, (status, _, body) = handshake(trustee, client)
    if client.version == "0.1.0":
        assert status == 500 and "is not registered" in json.loads(body)["detail"]
    else:
        assert status == 200
        status, _, body = trustee.ask("GET", RESOURCE, None, cookie)
        assert status == 403 and "is not registered" in json.loads(body)["detail"]
    trustee.register(VALUES)
    cookie, (status, _, body) = handshake(trustee, client)
    assert status == 200, body
    claims = verified_claims(json.loads(body)["token"], trustee.ask("GET", "/api/attestation-service/certificate")[2])
    runtime = (claims["customized_claims"]["runtime_data"] if client.version == "0.1.0" else
               claims["submods"]["cpu0"]["ear.veraison.annotated-evidence"]["runtime_data_claims"])
    assert runtime["tee-pubkey"] == client.jwk
    status, headers, body = trustee.ask("GET", RESOURCE, None, cookie)
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert client.open(json.loads(body)) == SECRET
    with pytest.raises(Exception):
        kind().open(json.loads(body))


def test_a_file_written_by_hand_is_served_byte_for_byte(trustee):
    trustee.register(VALUES)
    client = P2Ec()
    cookie, _ = handshake(trustee, client)
    file = trustee.data / "kbs/repository/default/aliyun/model-decryption-key"
    file.parent.mkdir(parents=True)
    for content in (b"no newline", b"with newline\n", b"\0\xff", b""):
        file.write_bytes(content)
        assert client.open(json.loads(trustee.ask("GET", RESOURCE, None, cookie)[2])) == content


def test_restart_keeps_keys_and_values(trustee, tmp_path):
    trustee.register(VALUES)
    certificate = trustee.ask("GET", "/api/as/certificate")[2]
    client = P2Ec()
    trustee.ask("POST", RESOURCE, SECRET, trustee.admin())
    _, (_, _, body) = handshake(trustee, client)
    token = json.loads(body)["token"]
    trustee.stop()
    again = Trustee(tmp_path)
    try:
        assert again.ask("GET", "/api/as/certificate")[2] == certificate
        assert json.loads(again.ask("GET", "/api/rvps/query")[2]) == VALUES
        status, _, body = again.ask("GET", RESOURCE, None, {"Authorization": "Bearer " + token})
        assert status == 200 and client.open(json.loads(body)) == SECRET, "passport mode survives a restart"
        second = subprocess.run([BIN / "cairn-trustee", "--data", again.data, "--listen", "127.0.0.1:0"], capture_output=True)
        assert second.returncode == 1 and b"another process uses this data folder" in second.stderr
    finally:
        again.stop()


def test_health_log_and_secrets(trustee):
    status, _, body = trustee.ask("GET", "/api/services-health")
    assert status == 200
    assert [(name, part["status"]) for name, part in json.loads(body).items()] == [
        ("gateway", "ok"), ("kbs", "ok"), ("as", "ok"), ("rvps", "ok")]
    trustee.ask("POST", RESOURCE, SECRET, trustee.admin())
    trustee.stop()
    everything = trustee.log.read_bytes() + (trustee.data / "gateway/app/data/trustee-gateway.db").read_bytes()
    assert SECRET not in everything and b"PRIVATE" not in everything
    assert "stopping" in trustee.log.read_text()


@pytest.mark.parametrize("arguments", [["--nosuch"], ["--config", "/nonexistent"], ["--listen", "nonsense"]])
def test_bad_arguments_are_refused(tmp_path, arguments):
    if not (BIN / "cairn-trustee").exists():
        pytest.skip("cairn-trustee is not built")
    done = subprocess.run([BIN / "cairn-trustee", "--data", tmp_path / "d", *arguments], capture_output=True, timeout=60)
    assert done.returncode != 0 and done.stderr + done.stdout


def test_unknown_configuration_is_refused(tmp_path):
    if not (BIN / "cairn-trustee").exists():
        pytest.skip("cairn-trustee is not built")
    (tmp_path / "c.toml").write_text("lissten = 'x'\n[verifier.sample]\nenable = true\n")
    done = subprocess.run([BIN / "cairn-trustee", "--data", tmp_path / "d", "--config", tmp_path / "c.toml"], capture_output=True)
    assert done.returncode == 1 and b"lissten" in done.stderr and b"verifier.sample.enable" in done.stderr
