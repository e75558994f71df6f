"""cairn-tng as processes: curl through a pair, exit codes, and capture by netfilter between two network namespaces."""

import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import textwrap
import threading
import time
import urllib.request

import pytest
from peers import free_port

BIN = pathlib.Path(os.environ.get("CAIRN_BIN", pathlib.Path(__file__).parents[2] / "build" / "dev" / "bin"))
TNG = str(BIN / "cairn-tng")


class Application(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({"path": self.path, "host": self.headers["Host"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def application():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


class Gateway:
    def __init__(self, config):
        self.control = free_port()
        config = dict(config, control_interface={"restful": {"host": "127.0.0.1", "port": self.control}})
        self.process = subprocess.Popen([TNG, "launch", "--config-content", json.dumps(config)], stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        deadline = time.time() + 20
        while time.time() < deadline and self.process.poll() is None:
            try:
                if urllib.request.urlopen(f"http://127.0.0.1:{self.control}/readyz", timeout=2).status == 200:
                    return self
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        raise AssertionError(self.process.communicate()[1])

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=30)

    def status(self):
        return json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.control}/status"))


@pytest.fixture
def pair(application):
    port, proxy = free_port(), free_port()
    server = {"no_ra": True, "decap_from_http": {"allow_non_tng_traffic_regexes": ["/healthz"]},
              "mapping": {"in": {"host": "127.0.0.1", "port": port}, "out": {"host": "127.0.0.1", "port": application}}}
    client = {"no_ra": True, "encap_in_http": {}, "http_proxy": {"proxy_listen": {"host": "127.0.0.1", "port": proxy}}}
    with Gateway({"add_egress": [server]}) as egress, Gateway({"add_ingress": [client]}) as ingress:
        yield f"http://127.0.0.1:{proxy}", f"http://127.0.0.1:{port}", egress, ingress


def curl(*arguments, data=None):
    return subprocess.run(["curl", "-sS", "-m", "20", *arguments], input=data, capture_output=True, check=True).stdout


def test_curl_through_the_pair(pair, tmp_path):
    proxy, url, egress, _ = pair
    assert json.loads(curl("-x", proxy, url + "/v1/models?a=b")) == {"path": "/v1/models?a=b", "host": url[7:]}
    assert json.loads(curl("-p", "-x", proxy, url + "/connect"))["path"] == "/connect"
    assert json.loads(curl("--http2-prior-knowledge", "-x", "", url + "/healthz"))["path"] == "/healthz"
    big = os.urandom(3 << 20)
    assert curl("-x", proxy, url + "/echo", "--data-binary", "@-", data=big) == big
    codes = curl("-o", str(tmp_path / "a"), "-w", "%{http_code} ", url + "/v1/models", "-o", str(tmp_path / "b"), url + "/healthz")
    assert codes.split() == [b"418", b"200"]
    assert egress.status()["egress"][0]["last_session"]["tls"] == "TLSv1.3"


def test_stops_on_sigterm(pair):
    _, _, egress, ingress = pair
    for gateway in (ingress, egress):
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.process.wait(15) == 0


@pytest.mark.parametrize("arguments,code", [
    (["--version"], 0), (["--help"], 0), ([], 2), (["bogus"], 2), (["launch", "--bogus"], 2), (["launch"], 1),
    (["launch", "-c", "/nowhere.json"], 1), (["check", "--config-content", "{}"], 1), (["launch", "--config-content", "{}"], 1),
    (["check", "--config-content", '{"add_egress":[{"no_ra":true,"mapping":{"in":{"port":1},"out":{"host":"h","port":2}}}]}'], 0),
])
def test_exit_codes(arguments, code):
    assert subprocess.run([TNG, *arguments], capture_output=True).returncode == code


# Runs in a network namespace of its own, with a second one for the client behind a veth pair.
NETFILTER = """
set -eu
ip link set lo up
unshare -n sleep 60 & client=$!
trap 'kill $client $app ${gateway:-} ${capture:-} 2>/dev/null || true' EXIT
app=
sleep 0.3
ip link add vs type veth peer name vc
ip link set vc netns $client
ip addr add 10.9.0.1/24 dev vs; ip -6 addr add fd00::1/64 dev vs nodad; ip link set vs up
in_client() { nsenter -t $client -n "$@"; }
in_client ip link set lo up
in_client ip addr add 10.9.0.2/24 dev vc; in_client ip -6 addr add fd00::2/64 dev vc nodad; in_client ip link set vc up
python3 -m http.server --bind :: 18000 >/dev/null 2>&1 & app=$!
code() { "$@" curl -g -s -m 5 -o /dev/null -w '%{http_code}' "$url" || true; }
wait_for() { for _ in $(seq 100); do if "$@"; then return; fi; sleep 0.1; done; echo "timed out: $*"; exit 1; }
url=http://10.9.0.1:18000/
reachable() { [ "$(code in_client)" = 200 ]; }
wait_for reachable
"$TNG" launch --config-content '{"add_egress":[{"no_ra":true,"netfilter":{"capture_dst":{"port":18000}},"decap_from_http":{"allow_non_tng_traffic_regexes":["/healthz"]}}]}' 2>server.log & gateway=$!
wait_for grep -q ready server.log
echo "direct $(code in_client)"
url='http://[fd00::1]:18000/'; echo "direct6 $(code in_client)"
url=http://10.9.0.1:18000/healthz; echo "allowed $(code in_client)"
url=http://127.0.0.1:18000/; echo "local $(code env)"
nsenter -t $client -n "$TNG" launch --config-content '{"add_ingress":[{"no_ra":true,"netfilter":{"capture_dst":[{"host":"10.9.0.0/24","port":18000}]},"encap_in_http":{}}]}' 2>client.log & capture=$!
wait_for grep -q ready client.log
url=http://10.9.0.1:18000/; echo "captured $(code in_client)"
"$TNG" launch --config-content '{"add_egress":[{"no_ra":true,"netfilter":{"capture_dst":{"port":18001}}}]}' 2>second.log && exit 1
grep -q 'another gateway' second.log && echo "second refused"
kill $capture; wait $capture || true; capture=
kill -9 $gateway; wait $gateway 2>/dev/null || true; gateway=
echo "killed $(code in_client)"
"$TNG" launch --config-content '{"add_egress":[{"no_ra":true,"netfilter":{"capture_dst":{"port":18000}}}]}' 2>again.log & gateway=$!
wait_for grep -q ready again.log
echo "rules $(iptables -t nat -S | grep -c REDIRECT)"
kill $gateway; wait $gateway; gateway=
echo "left $(iptables -t nat -S | grep -c TNG || true) $(iptables -S | grep -c TNG || true) $(ip6tables -t nat -S | grep -c TNG || true)"
"""


def test_netfilter(tmp_path):
    for tool in ("iptables-restore", "ip6tables-restore", "unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    if subprocess.run(["unshare", "-n", "iptables", "-t", "nat", "-S"], capture_output=True).returncode != 0:
        pytest.skip("no permission for network namespaces and packet filter rules")
    (tmp_path / "healthz").write_text("well")
    script = tmp_path / "script"
    script.write_text(textwrap.dedent(NETFILTER))
    done = subprocess.run(["unshare", "-n", "bash", str(script)], cwd=tmp_path, env=dict(os.environ, TNG=TNG), text=True,
                          capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert dict(line.split(" ", 1) for line in done.stdout.splitlines()) == {
        "direct": "418", "direct6": "418", "allowed": "200", "local": "200", "captured": "200", "second": "refused",
        "killed": "000", "rules": "1", "left": "0 0 0"}
