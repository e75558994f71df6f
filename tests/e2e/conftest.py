"""Real programs, real processes: `cairn up` with the TD simulator, everything on 127.0.0.1 with free ports."""

import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("CAIRN_BIN", ROOT / "build" / "dev" / "bin"))
ENGINE_ROOT = os.environ.get("CAIRN_ENGINE_ROOT", "")
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "cairn"
UP_LIMIT_S = 180


def free_port():
    """Below the range that outgoing connections take theirs from, one of which could be in the way at the next start."""
    while True:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", random.randrange(20000, 32000)))
            except OSError:
                continue
            return s.getsockname()[1]


def mounts():
    return [line.split()[1] for line in pathlib.Path("/proc/self/mounts").read_text().splitlines() if "cairn-up." in line]


def run_folders():
    return [p for parent in ("/run", "/dev/shm") for p in pathlib.Path(parent).glob("cairn-up.*")]


class Up:
    """One state folder with its ports; starts `cairn up` on it."""

    def __init__(self, state, model, engine_root):
        self.state, self.model, self.engine_root = state, model, engine_root
        self.port, self.proxy_port, self.trustee_port = free_port(), free_port(), free_port()

    def command(self, *extra, model=True):
        command = [BIN / "cairn", "up", "--tee", "simulated", "--state", self.state, "--port", self.port,
                   "--proxy-port", self.proxy_port, "--trustee-port", self.trustee_port, "--max-tokens", "16"]
        if model:
            command += ["--model", self.model]
        if self.engine_root:
            command += ["--engine-root", self.engine_root]
        return [str(c) for c in [*command, *extra]]

    def run(self, *extra, **kwargs):
        return subprocess.run(self.command(*extra, **kwargs), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=UP_LIMIT_S)

    def result(self, *extra):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "r.json"
            done = self.run("--once", "--json", str(file), *extra)
            return done, json.loads(file.read_text()) if file.exists() else None

    def serve(self, *extra, **how):
        """Starts and waits until it serves; the caller ends it. `how`: for the process."""
        file = self.state.parent / "serving.json"
        file.unlink(missing_ok=True)
        process = subprocess.Popen(self.command("--json", str(file), *extra), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how)
        deadline = time.monotonic() + UP_LIMIT_S
        while not file.exists():
            if process.poll() is not None:
                raise AssertionError(f"cairn up ended with {process.returncode}:\n{process.stdout.read()}")
            if time.monotonic() > deadline:
                process.kill()
                raise AssertionError("cairn up did not come up in time")
            time.sleep(0.05)
        result = json.loads(file.read_text())
        assert result["ok"], f"cairn up did not come up: {result['error']}\n{process.communicate()[0]}"
        return process, result

    @property
    def proxy(self):
        return f"http://127.0.0.1:{self.proxy_port}"

    @property
    def service(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def trustee(self):
        return f"http://127.0.0.1:{self.trustee_port}/api"


def model_path():
    found = sorted((CACHE / "assets").glob("*.gguf"))
    return found[0] if found else None


def start_of_up(tmp):
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts file systems")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("needs /dev/fuse")
    model = model_path()
    if model is None or not (pathlib.Path(ENGINE_ROOT) / "usr/bin/llama-server").exists():
        pytest.skip("the model or the engine could not be fetched on this machine")
    return Up(tmp / "state", model, ENGINE_ROOT)


@pytest.fixture(scope="session")
def up(tmp_path_factory):
    """Shared by the whole session: the first run encrypts, later ones reuse."""
    tmp = tmp_path_factory.mktemp("up")
    yield start_of_up(tmp)
    shutil.rmtree(tmp, ignore_errors=True)


@pytest.fixture(autouse=True)
def nothing_left(request):
    yield
    if "serving" in request.fixturenames:
        return  # it goes on for the rest of its class
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and (mounts() or run_folders()):
        time.sleep(0.1)
    assert mounts() == []
    assert run_folders() == []
