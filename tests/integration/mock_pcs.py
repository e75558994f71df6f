"""Intel's provisioning service, or a caching one in front of it (API version 4), as far as collateral goes: over HTTP or
HTTPS, with the faults that tests want. It signs nothing: it hands out the collateral it was given."""

import base64
import contextlib
import datetime
import http.server
import ipaddress
import time
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mock_server import MockServer


def bundle_of_case(folder, case):
    """The collateral that a case of the vectors names, in the members of our bundles."""
    text = lambda member: (folder / case[member]).read_text()
    der = lambda member: base64.b64encode((folder / case[member]).read_bytes()).decode()
    return {**{m: text(m) for m in ("tcb_info", "tcb_signing_chain", "qe_identity", "qe_signing_chain",
                                    "pck_crl_issuer_chain")},
            "root_crl": der("root_crl"), "pck_crl": der("pck_crl")}


def self_signed(folder):
    """(certificate file, key file) for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mock service")])
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(start)
                   .not_valid_after(start + datetime.timedelta(days=1))
                   .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
                   .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
    (folder / "pcs.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "pcs.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                       serialization.NoEncryption()))
    return folder / "pcs.pem", folder / "pcs.key"


class MockPcs(MockServer):
    def __init__(self, bundle, tls=None, pccs=False):
        self.bundle = bundle
        self.pccs = pccs        # spellings of a caching service: CRLs as hex, the old name of the TCB header
        self.status = 200       # of every answer, if another
        self.delay = 0.0        # seconds before each answer
        self.change = {}        # kind ("tcb", "qe", "pckcrl", "rootcrl") -> function over the body
        self.asked = []         # targets
        mock = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                mock.asked.append(self.path)
                time.sleep(mock.delay)
                status, headers, body = mock.answer(self.path)
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

        self.start(Handler, tls)

    def answer(self, target):
        if self.status != 200:
            return self.status, {"Error-Message": "as told"}, b""
        url = urllib.parse.urlsplit(target)
        query = urllib.parse.parse_qs(url.query)
        chain = lambda member: urllib.parse.quote(self.bundle[member])
        kind = {"tcb": "tcb", "qe/identity": "qe", "pckcrl": "pckcrl", "rootcacrl": "rootcrl"}.get(
            url.path.removeprefix("/sgx/certification/v4/").removeprefix("/tdx/certification/v4/"))
        if kind in ("tcb", "qe") and not ({"update", "tcbEvaluationDataNumber"} & query.keys()):
            return 400, {}, b""
        if kind == "tcb":
            if query["fmspc"][0].upper() not in self.bundle["tcb_info"].upper():
                return 404, {"Error-Message": "no such platform"}, b""
            name = "SGX-TCB-Info-Issuer-Chain" if self.pccs else "TCB-Info-Issuer-Chain"
            headers, body = {name: chain("tcb_signing_chain")}, self.bundle["tcb_info"].encode()
        elif kind == "qe":
            headers, body = {"SGX-Enclave-Identity-Issuer-Chain": chain("qe_signing_chain")}, self.bundle["qe_identity"].encode()
        elif kind in ("pckcrl", "rootcrl"):
            headers = {"SGX-PCK-CRL-Issuer-Chain": chain("pck_crl_issuer_chain")} if kind == "pckcrl" else {}
            body = base64.b64decode(self.bundle["pck_crl" if kind == "pckcrl" else "root_crl"])
            if self.pccs:
                body = body.hex().encode()
        else:
            return 404, {}, b""
        return 200, headers, self.change.get(kind, lambda b: b)(body)
