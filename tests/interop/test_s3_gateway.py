"""A store by others: versitygw, which serves a folder by S3 and checks every signature. What the mock of the other tests takes,
it must take too."""

import contextlib
import hashlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("CAIRN_BIN", ROOT / "build" / "dev" / "bin"))
MODULE, VERSION = "github.com/versity/versitygw/cmd/versitygw", "v1.0.14"
ID, SECRET = "owner", "a-secret-of-this-test"
MIB = 1 << 20


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """The environment of clients, and the folder whose folders are the buckets."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "cairn-versitygw" / VERSION
    program = cache / "versitygw"
    if not program.exists():
        go = shutil.which("go") or ("/usr/local/go/bin/go" if os.path.exists("/usr/local/go/bin/go") else None)
        if go is None:
            pytest.skip("no Go compiler here")
        done = subprocess.run([go, "install", "-p", "1", f"{MODULE}@{VERSION}"], capture_output=True, text=True, timeout=1200,
                              env={**os.environ, "GOBIN": str(cache), "GOFLAGS": "-buildvcs=false"})
        if done.returncode != 0:
            pytest.skip("versitygw cannot be had here: " + done.stderr.strip().splitlines()[-1][:200])
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "models").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    server = subprocess.Popen([program, "--port", f"127.0.0.1:{port}", "--quiet", "posix", folder],
                              env={**os.environ, "ROOT_ACCESS_KEY_ID": ID, "ROOT_SECRET_ACCESS_KEY": SECRET},
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert server.poll() is None, "versitygw ended"
            time.sleep(0.05)
        yield {"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1",
               "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}"}, folder / "models"
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    plain, generator = folder / "plain", random.Random(11)
    (plain / "sub").mkdir(parents=True)
    (plain / "shard-1").write_bytes(generator.randbytes(40 * MIB + 123))  # in parts
    (plain / "sub" / "shard-2").write_bytes(generator.randbytes(3 * MIB + 4097))
    (plain / "empty").write_bytes(b"")
    (plain / ("L" * 255)).write_text("a long name")
    for i in range(1100):  # more than one page of a list
        (plain / "sub" / f"token {i} äöü+%&").write_text(str(i))
    (folder / "key").write_text("pw\n")
    cairn("encrypt", plain, folder / "vol", "--key-file", folder / "key", "--log-n", 10, "-q", "--seals")
    return folder


def command(*words):
    return [str(BIN / "cairn"), "model", *map(str, words)]


def cairn(*words, env=None, code=0):
    done = subprocess.run(command(*words), env={**os.environ, **(env or {})}, text=True, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=300)
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    assert SECRET not in done.stdout + done.stderr
    return done


def tree(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@contextlib.contextmanager
def mounted(url, model, env, point, *options):
    point.mkdir(exist_ok=True)
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [str(BIN / "cairn-cachefs"), "mount", "--source", url, "--mountpoint", str(point), "--passfile", str(model / "key"),
         "--ready-fd", str(write_end), *options], env={**os.environ, **env}, pass_fds=[write_end], stderr=subprocess.DEVNULL)
    os.close(write_end)
    try:
        assert os.read(read_end, 6) == b"ready\n", "the mount did not come up"
        yield point
    finally:
        os.close(read_end)
        process.terminate()
        assert process.wait(30) == 0


def test_push_mount_and_pull(gateway, model, tmp_path):
    env, _ = gateway
    cairn("push", model / "vol", "s3://models/a/b", "-q", env=env)
    assert "--replace" in cairn("push", model / "vol", "s3://models/a/b", "-q", env=env, code=1).stderr
    cairn("push", model / "vol", "s3://models/a/b", "-q", "--replace", env=env)
    assert "no problems" in cairn("fsck", "s3://models/a/b", "--key-file", model / "key", "-q", env=env).stdout
    for mode in ("streaming", "resident"):
        with mounted("s3://models/a/b", model, env, tmp_path / "mnt", "--mode", mode, "--verify", "seal") as point:
            assert {k: v for k, v in tree(point).items() if not k.startswith(".cairn-")} == tree(model / "plain")
    cairn("pull", "s3://models/a/b", tmp_path / "vol", "-q", env=env)
    assert tree(tmp_path / "vol") == tree(model / "vol")


def test_a_wrong_secret_is_refused(gateway, model):
    env, _ = gateway
    wrong = cairn("ls", "s3://models/a/b", "--key-file", model / "key", env={**env, "AWS_SECRET_ACCESS_KEY": "other"}, code=1)
    assert "403" in wrong.stderr and "SignatureDoesNotMatch" in wrong.stderr


def test_a_killed_push_goes_on(gateway, model):
    env, bucket = gateway
    started = subprocess.Popen(command("push", model / "vol", "s3://models/killed", "-q"), env={**os.environ, **env},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not any(p.is_file() for p in bucket.rglob("*")) and started.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL, "it was done before it could be killed"
    assert not (bucket / "killed/gocryptfs.conf").exists()  # last: what is not whole does not look it
    cairn("push", model / "vol", "s3://models/killed", "-q", env=env)
    assert "no problems" in cairn("fsck", "s3://models/killed", "--key-file", model / "key", "-q", env=env).stdout


def test_what_is_replaced_underneath_is_an_error(gateway, model, tmp_path):
    env, _ = gateway
    cairn("push", model / "vol", "s3://models/replaced", "-q", env=env)
    other = shutil.copytree(model / "vol", tmp_path / "other")
    largest = max((p for p in other.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(random.Random(5).randbytes(largest.stat().st_size))
    with mounted("s3://models/replaced", model, env, tmp_path / "mnt", "--mode", "streaming", "--store-timeout", "5") as point:
        cairn("push", other, "s3://models/replaced", "-q", "--replace", env=env)
        with pytest.raises(OSError):
            (point / "shard-1").read_bytes()
        assert (point / "sub/shard-2").read_bytes() == (model / "plain/sub/shard-2").read_bytes()
