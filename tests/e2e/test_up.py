"""The main job: an answer over attested, encrypted inference, and a refusal wherever the proof fails."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
import requests

TAMPER = {
    "model": "model",
    "engine": "engine",
    "measurement": "RTMR3|log",
    "eventlog": "RTMR3|log",
    "quote": "signature|quote",
    "replay": "report data|nonce|REPORTDATA",
    "root": "root",
    "tcb": "TCB|Revoked|revoked",
    "key": "password|key",
    "mitm": "evidence",
}


def plain_sha256(up):
    return hashlib.sha256(pathlib.Path(up.model).read_bytes()).hexdigest()


def test_answers_a_prompt(up):
    done, result = up.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert result["ok"] is True and result["error"] is None
    assert len(result["answer"]) > 3
    assert result["answer"] in done.stdout
    assert result["tee"] == {"type": "tdx", "simulated": True}
    assert result["verdict"]["status"] == "affirming"
    assert result["verdict"]["policy_ids"] == ["default"]
    assert set(result["verdict"]["trust_vector"]) >= {"hardware", "configuration", "executables"}
    assert all(tier in range(2, 32) for tier in result["verdict"]["trust_vector"].values())
    assert [len(r) for r in result["verdict"]["rtmr"]] == [96] * 4 and len(result["verdict"]["mrtd"]) == 96
    assert result["model"]["sha256_plain"] == result["model"]["sha256_mounted"] == plain_sha256(up)
    assert result["key"] == {"id": "kbs:///default/aliyun/model-decryption-key", "released": True}
    assert result["wire"]["protocol"] == "ra-tls-h2-encap"
    assert result["wire"]["tls"] == "1.3" and result["wire"]["group"]
    assert result["wire"]["plaintext_seen"] is False
    assert "TD SIMULATOR" in done.stdout


def test_second_run_reuses_the_ciphertext(up):
    started = time.monotonic()
    done, result = up.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "encrypted before" in done.stdout
    assert time.monotonic() - started < 60
    done = up.run("--once", model=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("what", sorted(TAMPER))
def test_tampering_is_refused(up, what):
    done, result = up.result("--tamper", what)
    assert done.returncode == 3, done.stdout + done.stderr
    assert result["ok"] is False and result["answer"] == ""
    message = result["error"]["message"]
    assert re.search(TAMPER[what], message), message
    assert message in done.stderr and "\n" not in message
    if what not in ("model", "key", "mitm"):
        assert result["key"]["released"] is False


def test_after_tampering_everything_is_intact(up):
    done, result = up.result()
    assert done.returncode == 0, done.stdout + done.stderr
    assert result["model"]["sha256_mounted"] == plain_sha256(up)


def test_ctrl_c_at_a_terminal_stops_in_order(up):
    process, _ = up.serve(start_new_session=True)
    assert any("Ctrl-C stops" in line for line in process.stdout)
    time.sleep(0.3)  # it waits now
    os.killpg(process.pid, signal.SIGINT)  # a terminal signals every process of its foreground group
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and "nothing is left running or mounted" in out, out


@pytest.fixture(scope="class")
def serving(up):
    process, result = up.serve()
    yield up, process, result
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, out
    assert "nothing is left running or mounted" in out


class TestServing:
    def test_proxy_serves_models_completions_and_streams(self, serving):
        up, _, _ = serving
        proxies = {"http": up.proxy}
        models = requests.get(f"{up.service}/v1/models", proxies=proxies, timeout=30)
        assert models.status_code == 200 and models.json()["data"]
        done = requests.post(f"{up.service}/v1/completions", proxies=proxies, timeout=60,
                             json={"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0})
        assert done.status_code == 200, done.text
        assert done.json()["choices"][0]["text"]
        body = {"messages": [{"role": "user", "content": "Count to five."}], "stream": True, "max_tokens": 16}
        with requests.post(f"{up.service}/v1/chat/completions", proxies=proxies, json=body, stream=True, timeout=60) as r:
            assert r.headers["content-type"].startswith("text/event-stream")
            lines = [line for line in r.iter_lines() if line.startswith(b"data: ")]
        assert lines[-1] == b"data: [DONE]" and len(lines) > 4
        curl = subprocess.run(["curl", "-sS", "--max-time", "30", f"{up.service}/v1/models"], capture_output=True, text=True,
                              env={**os.environ, "http_proxy": up.proxy})
        assert curl.returncode == 0 and json.loads(curl.stdout)["data"]

    def test_straight_to_the_protected_port_fails(self, serving):
        up, _, _ = serving
        answer = requests.get(f"{up.service}/v1/models", timeout=10)
        assert answer.status_code == 418
        with socket.create_connection(("127.0.0.1", up.port), timeout=10) as s:
            s.sendall(b"rubbish\r\n\r\n")
            s.settimeout(15)
            assert b"200" not in s.recv(100)

    def test_four_services_are_healthy(self, serving):
        up, _, _ = serving
        health = requests.get(f"{up.trustee}/services-health", timeout=10).json()
        assert list(health) == ["gateway", "kbs", "as", "rvps"]
        assert {part["status"] for part in health.values()} == {"ok"}

    def test_gocryptfs_opens_the_same_volume(self, serving, tmp_path):
        up, _, _ = serving
        key = up.state / "trustee" / "kbs" / "repository" / "default" / "aliyun" / "model-decryption-key"
        mount = tmp_path / "plain"
        mount.mkdir()
        cipher = up.state / "model" / "cipher"
        done = subprocess.run(["gocryptfs", "-q", "-ro", "-passfile", str(key), str(cipher), str(mount)], capture_output=True,
                              text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        try:
            files = [f for f in mount.iterdir() if f.suffix == ".gguf"]
            assert hashlib.sha256(files[0].read_bytes()).hexdigest() == plain_sha256(up)
        finally:
            subprocess.run(["fusermount3", "-u", str(mount)], check=True, timeout=30)

    def test_no_plain_model_bytes_on_disk(self, serving):
        up, _, _ = serving
        needle = pathlib.Path(up.model).read_bytes()[1 << 20:(1 << 20) + 64]
        for path in up.state.rglob("*"):
            if path.is_file():
                assert needle not in path.read_bytes(), path


def children(pid):
    out = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        if int(text[text.rindex(")") + 4:].split()[0]) == pid:
            out.append((int(stat.parent.name), text[text.index("(") + 1:text.rindex(")")]))
    return out


def descendants(pid):
    found = children(pid)
    return found + [d for child, _ in found for d in descendants(child)]


@pytest.mark.parametrize("victim", ["cairn-trustee", "cairn-aa", "cairn-cachefs", "cairn-tng", "llama-server", "cairn", "guardian"])
def test_killing_any_process_ends_cleanly(up, victim):
    process, _ = up.serve()
    family = descendants(process.pid)
    if victim == "guardian":
        pid = process.pid
    else:
        pid = next(pid for pid, name in family if name == victim[:15])
    started = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    deadline = started + 10
    recovered = False
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    if process.poll() is None:  # it went on: then it must really work
        answer = requests.get(f"{up.service}/v1/models", proxies={"http": up.proxy}, timeout=10)
        recovered = answer.status_code == 200
        process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert recovered or process.returncode != 0, out
    while time.monotonic() < deadline + 5 and any(pathlib.Path(f"/proc/{p}").exists() for p, _ in family):
        time.sleep(0.1)
    left = [(p, n) for p, n in family if pathlib.Path(f"/proc/{p}").exists()]
    assert left == []


def test_errors_are_clear_and_change_nothing(up, tmp_path):
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", up.port))
        holder.listen()
        done = up.run("--once")
        assert done.returncode == 1 and f"127.0.0.1:{up.port}" in done.stderr and "--port" in done.stderr
    for name, content, word in [("empty.gguf", b"", "empty"), ("noise.gguf", b"not a model" * 100, "GGUF")]:
        bad = tmp_path / name
        bad.write_bytes(content)
        done = up.run("--once", "--model", str(bad), model=False)
        assert done.returncode == 1 and word in done.stderr, done.stderr
    done = up.run("--once", "--model", str(tmp_path / "none.gguf"), model=False)
    assert done.returncode == 1 and "no such model" in done.stderr
    command = [c if c != "simulated" else "auto" for c in up.command("--once")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "--tee simulated" in done.stderr
    done = up.run("--once", "--tamper", "nonsense")
    assert done.returncode != 0 and "mitm" in done.stderr
    done, result = up.result()
    assert done.returncode == 0 and result["model"]["sha256_mounted"] == plain_sha256(up)


def test_a_truncated_model_is_refused_by_the_engine_with_its_words(up, tmp_path):
    short = tmp_path / "short.gguf"
    with open(up.model, "rb") as source:
        short.write_bytes(source.read(20 << 20))
    other = type(up)(tmp_path / "state", short, up.engine_root)
    done = other.run("--once")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "llama-server" in done.stderr
    shutil.rmtree(tmp_path / "state")
