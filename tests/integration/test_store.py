"""Models in an object store: pushed, read, mounted and pulled, while the store is slow, fails, lies, or is somebody else's."""

import contextlib
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest
from mock_pcs import self_signed
from mock_s3 import ID, SECRET, Fault, MockS3, Object

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("CAIRN_BIN", ROOT / "build" / "dev" / "bin"))
MIB = 1 << 20


def cairn(*words, env=None, code=0, **kwargs):
    done = subprocess.run([str(BIN / "cairn"), "model", *map(str, words)], env={**os.environ, **(env or {})}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **kwargs)
    assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
    assert SECRET not in done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """An encrypted model: three shards, a long name, folders, an empty file."""
    folder = tmp_path_factory.mktemp("model")
    plain = folder / "plain"
    (plain / "sub").mkdir(parents=True)
    generator = random.Random(1)
    (plain / "shard-1").write_bytes(generator.randbytes(40 * MIB + 123))
    (plain / "shard-2").write_bytes(generator.randbytes(9 * MIB))
    (plain / "sub" / "shard-3").write_bytes(generator.randbytes(3 * MIB + 4097))
    (plain / "config.json").write_text("{}\n")
    (plain / "empty").write_bytes(b"")
    (plain / ("L" * 255)).write_text("long")
    for i in range(40):
        (plain / "sub" / f"token-{i}").write_text(str(i))
    (folder / "key").write_text("pw\n")
    cairn("encrypt", plain, folder / "vol", "--key-file", folder / "key", "--log-n", 10, "-q", "--seals", "--name", "m")
    return folder


def tree(folder):
    """path -> digest of every file."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def store(volume):
    with MockS3() as mock:
        mock.load(volume / "vol", "m/")
        yield mock


def key_of_largest(mock):
    return max(mock.objects, key=lambda k: len(mock.objects[k].data))


def only_large(fault):
    """The fault for ranges of large objects, nothing else."""
    return lambda method, key, headers: fault if method == "GET" and headers.get("Range", "bytes=0-0") != "bytes=0-0" and \
        not key.endswith((".conf", ".diriv", ".name")) else None


# ---------------------------------------------------------------------------------------------------- reading


def test_the_verbs_read_a_store(volume, store):
    env, key = store.environment(), ["--key-file", volume / "key"]
    listed = cairn("ls", "s3://models/m", "-R", *key, env=env).stdout.splitlines()
    assert "sub/shard-3" in listed and "L" * 255 in listed and len(listed) == 49
    out = subprocess.run([str(BIN / "cairn"), "model", "cat", "s3://models/m", "shard-2", *map(str, key)], stdout=subprocess.PIPE,
                         env={**os.environ, **env}, timeout=60, check=True).stdout
    assert out == (volume / "plain/shard-2").read_bytes()
    assert "HKDF" in cairn("info", "s3://models/m", env=env).stdout
    assert "no problems found" in cairn("fsck", "s3://models/m", *key, "-q", env=env).stdout
    digest = cairn("digest", "s3://models/m", *key, "-q", env=env).stdout
    assert digest == cairn("digest", volume / "vol", *key, "-q").stdout
    assert "not a gocryptfs volume" in cairn("ls", "s3://models/other", *key, env=env, code=1).stderr


def test_a_list_of_many_pages(volume, store):
    store.page = 7
    listed = cairn("ls", "s3://models/m", "-R", "--key-file", volume / "key", env=store.environment()).stdout.splitlines()
    assert len(listed) == 49


def test_who_may_not_is_told_so(volume, store, tmp_path):
    env, key = store.environment(), ["--key-file", volume / "key"]
    wrong = cairn("ls", "s3://models/m", *key, env={**env, "AWS_SECRET_ACCESS_KEY": "other"}, code=1)
    assert "403 SignatureDoesNotMatch" in wrong.stderr
    none = cairn("ls", "s3://models/m", *key, env={**env, "AWS_SECRET_ACCESS_KEY": ""}, code=1)
    assert "--store-credentials" in none.stderr
    file = tmp_path / "credentials"
    file.write_text(f"[default]\naws_access_key_id = {ID}\naws_secret_access_key = {SECRET}\n")
    file.chmod(0o644)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        env.pop(name)
    assert "0600" in cairn("ls", "s3://models/m", *key, "--store-credentials", file, env=env, code=1).stderr
    file.chmod(0o600)
    assert "shard-1" in cairn("ls", "s3://models/m", *key, "--store-credentials", file, env=env).stdout


def test_over_tls(volume, tmp_path):
    tls = self_signed(tmp_path)
    with MockS3(tls=tls) as mock:
        mock.load(volume / "vol", "m/")
        key = ["--key-file", volume / "key"]
        assert "no problems" in cairn("fsck", "s3://models/m", *key, "-q", "--store-ca", tls[0], env=mock.environment()).stdout
        assert "certificate" in cairn("ls", "s3://models/m", *key, env=mock.environment(), code=3).stderr


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(cut=100_000), Fault(reset=True), Fault(flip=50_000)],
                         ids=["503", "short body", "reset", "wrong byte"])
def test_faults_that_pass_are_survived(volume, store, fault):
    """Every third request fails, or answers with a wrong byte once for each range; the reader never knows."""
    counter, lied = iter(range(1_000_000)), set()
    inner = only_large(fault)

    def now(method, key, headers):
        if fault.flip is None:
            return inner(method, key, headers) if next(counter) % 3 == 0 else None
        range_ = (key, headers.get("Range"))
        if range_ in lied:
            return None
        lied.add(range_)
        return inner(method, key, headers)

    store.fault = now
    out = subprocess.run([str(BIN / "cairn"), "model", "cat", "s3://models/m", "shard-1", "--key-file", str(volume / "key")],
                         env={**os.environ, **store.environment()}, stdout=subprocess.PIPE, timeout=120, check=True).stdout
    assert out == (volume / "plain/shard-1").read_bytes()


@pytest.mark.parametrize("fault,code,says", [
    (Fault(status=503), 1, "503"), (Fault(cut=100_000), 1, "ended"), (Fault(flip=50_000), 3, "block"),
    (Fault(status=403), 1, "403")], ids=["503", "short body", "wrong byte", "403"])
def test_faults_that_stay_are_errors_and_no_data(volume, store, fault, code, says):
    store.fault = only_large(fault)
    done = cairn("fsck", "s3://models/m", "--key-file", volume / "key", "-q", "--store-timeout", 4, env=store.environment(),
                 code=26 if fault.flip else 1)
    assert "damaged" in done.stdout if fault.flip else says in done.stderr
    done = cairn("cat", "s3://models/m", "sub/shard-3", "--key-file", volume / "key", "--store-timeout", 4,
                 env=store.environment(), code=code)
    assert says in done.stderr and done.stdout == ""


def test_an_object_that_is_replaced_is_refused(volume, store):
    """Between the list and the reading: another ETag, so no byte of it is used."""
    key = key_of_largest(store)
    original = store.objects[key]

    def replace(method, which, headers):
        if method == "GET" and which == key and store.objects[key] is original:
            store.put(key, bytes(original.data))
        return None

    store.put = lambda k, data: store.objects.__setitem__(k, type(original)(data, '"new"'))
    store.fault = replace
    done = cairn("cat", "s3://models/m", "shard-1", "--key-file", volume / "key", env=store.environment(), code=1)
    assert "412" in done.stderr and "replaced" in done.stderr


def test_hostile_lists(volume, store):
    key = ["--key-file", volume / "key"]
    some = next(k for k in store.objects if k.endswith("gocryptfs.diriv"))
    for bad in ("m/../up", "m//x", "m/a/./b"):
        store.objects[bad] = store.objects[some]
    assert len(cairn("ls", "s3://models/m", "-R", *key, env=store.environment()).stdout.splitlines()) == 49
    store.objects[key_of_largest(store) + "/inside"] = store.objects[some]
    assert "both a file and a folder" in cairn("ls", "s3://models/m", *key, env=store.environment(), code=1).stderr


# ---------------------------------------------------------------------------------------------------- mounting


@contextlib.contextmanager
def mounted(volume, mock, *options):
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("mounting needs root and /dev/fuse")
    point = volume / "mnt"
    point.mkdir(exist_ok=True)
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [str(BIN / "cairn-cachefs"), "mount", "--source", "s3://models/m", "--mountpoint", str(point), "--passfile",
         str(volume / "key"), "--ready-fd", str(write_end), *map(str, options)],
        # What the address sanitizer keeps of freed memory would look like growth.
        pass_fds=[write_end], env={**os.environ, **mock.environment(), "ASAN_OPTIONS": "quarantine_size_mb=8"},
        stderr=subprocess.PIPE, text=True)
    os.close(write_end)
    ready = os.read(read_end, 6)
    os.close(read_end)
    if ready != b"ready\n":
        process.wait(30)
        raise AssertionError(process.stderr.read())
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()), daemon=True)
    reader.start()
    try:
        yield point, process
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        reader.join(5)
        assert SECRET not in "".join(errors)
        assert code == 0, errors


def worker_of(process):
    """The youngest child: the status server, where there is one, is older."""
    children = [int(c) for c in pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    return children[-1]


def usage_of(pid):
    """Descriptors, and KiB of private memory."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return len(os.listdir(f"/proc/{pid}/fd")), int(text.split("RssAnon:")[1].split()[0])


def stats(point):
    lines = (point / ".stats").read_text().splitlines()
    return {line.split()[0]: int(line.split()[1]) for line in lines if not line.startswith("#")}


@pytest.mark.parametrize("options", [["--mode", "streaming"], ["--mode", "bounded", "--cache-size", "8"],
                                     ["--mode", "resident", "--preload", "100"], ["--mode", "resident", "--verify", "full"],
                                     ["--mode", "streaming", "--verify", "seal"], ["--mode", "streaming", "--store-memory", "16"]],
                         ids=lambda o: " ".join(o))
def test_a_mount_shows_the_model(volume, store, options):
    with mounted(volume, store, *options) as (point, process):
        own = {".cairn-manifest.json", ".cairn-seal.bin"}
        assert {k: v for k, v in tree(point).items() if k not in own} == tree(volume / "plain")
        os.kill(worker_of(process), signal.SIGKILL)
        time.sleep(0.3)
        assert (point / "shard-2").read_bytes() == (volume / "plain/shard-2").read_bytes()
        got = stats(point)
        assert got["cachefs_store_bytes"] >= 50 * MIB or "--mode resident" in " ".join(options)
        assert got["cachefs_store_failures"] == 0 and got["cachefs_failures"] == 0


def test_reading_goes_ahead_of_the_reader(volume, store):
    store.latency = 0.2
    with mounted(volume, store, "--mode", "streaming") as (point, _):
        started = time.monotonic()
        assert len((point / "shard-1").read_bytes()) == 40 * MIB + 123
        # Eleven pieces of 4 MiB one after the other would take more than two seconds.
        assert time.monotonic() - started < 1.6


def test_a_file_opened_before_it_is_in_memory_is_left_to_its_readers(volume, store):
    store.latency = 0.2
    with mounted(volume, store) as (point, _):
        assert (point / "shard-1").read_bytes() == (volume / "plain/shard-1").read_bytes()
        time.sleep(1)
        seen = stats(point)
        assert seen["cachefs_streamed_files"] == 1
        assert seen["cachefs_resident_bytes"] <= seen["cachefs_resident_total_bytes"] - 20 * MIB  # the others and a few pieces
        assert (point / "sub/shard-3").read_bytes() == (volume / "plain/sub/shard-3").read_bytes()


def test_a_slow_answer_is_asked_for_again(volume, store):
    slow = {"left": 1}

    def fault(method, key, headers):
        if method == "GET" and headers.get("Range", "").startswith("bytes=8388608-") and slow["left"]:
            slow["left"] -= 1
            return Fault(delay=8)
        return None

    store.fault = fault
    with mounted(volume, store, "--mode", "streaming") as (point, _):
        started = time.monotonic()
        assert (point / "shard-1").read_bytes() == (volume / "plain/shard-1").read_bytes()
        assert time.monotonic() - started < 6
        assert stats(point)["cachefs_store_hedges_won"] >= 1


def test_a_read_ends_within_the_timeout(volume, store):
    with mounted(volume, store, "--mode", "streaming", "--store-timeout", "3") as (point, _):
        store.fault = only_large(Fault(delay=30))
        started = time.monotonic()
        with pytest.raises(OSError):
            (point / "shard-1").read_bytes()
        assert time.monotonic() - started < 12
        store.fault = lambda *_: None
        assert (point / "shard-1").read_bytes() == (volume / "plain/shard-1").read_bytes()


def test_the_cache_on_disk_serves_without_the_store(volume, store, tmp_path):
    options = ["--mode", "streaming", "--store-cache", tmp_path / "cache", "--store-cache-size", "200"]
    with mounted(volume, store, *options) as (point, _):
        assert (point / "shard-1").read_bytes() == (volume / "plain/shard-1").read_bytes()
        time.sleep(0.5)
    pieces = list((tmp_path / "cache").glob("*.piece"))
    assert sum(p.stat().st_size for p in pieces) > 40 * MIB
    plain = (volume / "plain/shard-1").read_bytes()[:64]
    assert not any(plain in p.read_bytes() for p in pieces)  # ciphertext only
    store.fault = lambda method, key, headers: Fault(status=500) if headers.get("Range", "").startswith(
        ("bytes=4194304-", "bytes=8388608-")) else None
    with mounted(volume, store, *options) as (point, _):
        assert (point / "shard-1").read_bytes() == (volume / "plain/shard-1").read_bytes()
        assert stats(point)["cachefs_store_cache_hits"] >= 2
    store.fault = lambda *_: None
    for p in pieces:  # the cache is not trusted: what does not authenticate is fetched anew
        data = bytearray(p.read_bytes())
        data[len(data) // 2] ^= 1
        p.write_bytes(data)
    with mounted(volume, store, *options) as (point, _):
        assert (point / "shard-1").read_bytes() == (volume / "plain/shard-1").read_bytes()
        assert stats(point)["cachefs_store_distrusted"] >= 1


@pytest.mark.parametrize("mode", ["streaming", "auto"])
def test_soak_with_faults_and_dying_workers(volume, store, mode):
    """Right bytes or an error, in time, and nothing grows. CAIRN_SOAK_SECONDS makes it longer."""
    seconds = int(os.environ.get("CAIRN_SOAK_SECONDS", 8))
    generator = random.Random(3)
    lock = threading.Lock()

    def fault(method, key, headers):
        with lock:
            dice = generator.random()
        if not headers.get("Range"):
            return None
        return (Fault(status=503) if dice < 0.05 else Fault(cut=1000) if dice < 0.1 else Fault(flip=77) if dice < 0.15 else
                Fault(reset=True) if dice < 0.2 else Fault(delay=0.3) if dice < 0.25 else None)

    expected = {p: (volume / "plain" / p).read_bytes() for p in ("shard-1", "shard-2", "sub/shard-3", "config.json")}
    wrong, good, failed, slowest, stop = [], [0], [0], [0], threading.Event()

    def reader(seed):
        mine = random.Random(seed)
        while not stop.is_set():
            path = mine.choice(list(expected))
            size = mine.choice([4096, 100_000, 3 * MIB])
            at = mine.randrange(max(1, len(expected[path]) - size))
            began = time.monotonic()
            fd = os.open(point / path, os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                data = os.pread(fd, size, at)
            except OSError:
                failed[0] += 1
                continue
            finally:
                os.close(fd)
                slowest[0] = max(slowest[0], time.monotonic() - began)
            if data != expected[path][at:at + len(data)]:
                wrong.append((path, at))
            good[0] += 1

    with mounted(volume, store, "--mode", mode, "--store-memory", "16", "--store-timeout", "10") as (point, process):
        store.fault = fault
        threads = [threading.Thread(target=reader, args=(i,)) for i in range(4)]
        for t in threads:
            t.start()
        pause = 1.5 if seconds < 60 else 4.0  # more than 20 deaths in a minute would be given up
        usage = []
        for _ in range(int(seconds / pause)):
            time.sleep(pause)
            worker = worker_of(process)
            usage.append([usage_of(process.pid), usage_of(worker)])
            os.kill(worker, signal.SIGKILL)
        time.sleep(1)
        stop.set()
        for t in threads:
            t.join(30)
            assert not t.is_alive(), "a reader hangs"
        store.fault = lambda *_: None
        assert wrong == [] and good[0] > 20
        assert slowest[0] < 25  # the timeout, and what a dying worker adds
        half = len(usage) // 2
        for who in (0, 1):
            for what, slack in ((0, 8), (1, 16 << 10)):
                early, late = (max(u[who][what] for u in part) for part in (usage[:half], usage[half:]))
                assert late <= early + slack, ("grows", who, what, early, late)
        print(f"{good[0]} reads, {failed[0]} refused, slowest {slowest[0]:.1f} s, last usage {usage[-1]}")
        assert (point / "shard-1").read_bytes() == expected["shard-1"]


# ---------------------------------------------------------------------------------------------------- push and pull


def test_push_and_pull_are_a_round_trip(volume, tmp_path):
    with MockS3() as mock:
        env = mock.environment()
        report = json.loads(cairn("push", volume / "vol", "s3://models/a/b", "--json", "-q", env=env).stdout)
        assert report["resumed_bytes"] == 0 and report["index"].startswith("sha256:")
        puts = [k for m, k, _ in mock.log if m == "PUT"]
        assert puts[-1] == "a/b/gocryptfs.conf" and puts[-2].endswith("cairn-objects.name")
        assert mock.parts_put == 3 and not mock.uploads  # 40 MiB in parts of 16
        assert "no problems" in cairn("fsck", "s3://models/a/b", "--key-file", volume / "key", "-q", env=env).stdout
        again = cairn("push", volume / "vol", "s3://models/a/b", "-q", env=env, code=1)
        assert "--replace" in again.stderr
        pulled = json.loads(cairn("pull", "s3://models/a/b", tmp_path / "vol", "--json", "-q", env=env).stdout)
        assert pulled["index"] == report["index"] and pulled["bytes"] == report["bytes"]
        assert tree(tmp_path / "vol") == tree(volume / "vol")
        assert (tmp_path / "vol/gocryptfs.conf").stat().st_mode & 0o777 == 0o400
        assert "resumed_bytes" in cairn("push", volume / "vol", "s3://models/a/b", "--replace", "--json", "-q", env=env).stdout


def test_replace_removes_what_others_left_and_nothing_else(volume):
    with MockS3() as mock:
        env = mock.environment()
        mock.objects["m/left-over"] = mock.objects["mine"] = mock.objects["m2/x"] = Object(b"x")
        refused = cairn("push", volume / "vol", "s3://models/m", "-q", env=env, code=1)
        assert "m/left-over" in refused.stderr
        cairn("push", volume / "vol", "s3://models/m", "-q", "--replace", env=env)
        assert "m/left-over" not in mock.objects and "mine" in mock.objects and "m2/x" in mock.objects


def test_a_killed_push_goes_on(volume):
    with MockS3() as mock:
        env = {**os.environ, **mock.environment()}
        mock.fault = lambda method, key, headers: Fault(delay=0.05) if method == "PUT" else None
        process = subprocess.Popen([str(BIN / "cairn"), "model", "push", str(volume / "vol"), "s3://models/m", "-q", "--threads", "1"],
                                   env=env, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while mock.parts_put < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait()
        assert mock.parts_put >= 2 and "m/gocryptfs.conf" not in mock.objects
        done = cairn("ls", "s3://models/m", "--key-file", volume / "key", env=mock.environment(), code=1)
        assert "not a gocryptfs volume" in done.stderr
        mock.fault = lambda *_: None
        report = json.loads(cairn("push", volume / "vol", "s3://models/m", "--json", "-q", env=mock.environment()).stdout)
        assert report["resumed_bytes"] >= 16 * MIB and not mock.uploads
        assert "no problems" in cairn("fsck", "s3://models/m", "--key-file", volume / "key", "-q", env=mock.environment()).stdout


def test_a_killed_pull_goes_on(volume, store, tmp_path):
    asked = lambda: sum(1 for m, k, r in store.log if m == "GET" and r and r.endswith(("-16777215", "-33554431")))
    store.fault = lambda method, key, headers: Fault(delay=0.4) if (headers.get("Range") or "").startswith("bytes=33554432-") else None
    process = subprocess.Popen([str(BIN / "cairn"), "model", "pull", "s3://models/m", str(tmp_path / "vol"), "-q", "--threads", "2"],
                               env={**os.environ, **store.environment()}, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not any((r or "").startswith("bytes=33554432-") for _, _, r in store.log) and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.1)
    process.kill()
    process.wait()
    assert not (tmp_path / "vol").exists() and (tmp_path / "vol.partial").exists()
    store.fault = lambda *_: None
    before = asked()
    report = json.loads(cairn("pull", "s3://models/m", tmp_path / "vol", "--json", "-q", env=store.environment()).stdout)
    assert report["resumed_bytes"] >= 16 * MIB and asked() <= before + 1
    assert tree(tmp_path / "vol") == tree(volume / "vol")
    assert not list((tmp_path / "vol").glob(".cairn-*"))


def test_pull_refuses_what_was_not_pushed(volume, tmp_path):
    with MockS3() as mock:
        env = mock.environment()
        cairn("push", volume / "vol", "s3://models/m", "-q", env=env)
        key = key_of_largest(mock)
        good = mock.objects[key]
        data = bytearray(good.data)
        data[20 * MIB] ^= 1
        mock.objects[key] = Object(bytes(data))
        refused = cairn("pull", "s3://models/m", tmp_path / "v1", "-q", env=env, code=3)
        assert "part 2 is not what was pushed" in refused.stderr and not (tmp_path / "v1").exists()
        mock.objects[key] = Object(bytes(good.data)[:-1])
        assert "another size" in cairn("pull", "s3://models/m", tmp_path / "v2", "-q", env=env, code=1).stderr
        mock.objects[key] = good
        mock.objects["m/more"] = Object(b"x")
        assert "does not have" in cairn("pull", "s3://models/m", tmp_path / "v3", "-q", env=env, code=1).stderr
        del mock.objects["m/more"]
        # A part that comes wrong once is fetched again.
        wrong = {"left": 1}

        def fault(method, which, headers):
            if method == "GET" and which == key and wrong["left"]:
                wrong["left"] -= 1
                return Fault(flip=1000)
            return None

        mock.fault = fault
        cairn("pull", "s3://models/m", tmp_path / "v4", "-q", env=env)
        assert tree(tmp_path / "v4") == tree(volume / "vol") and wrong["left"] == 0


def test_what_stores_cannot_hold_is_refused(volume, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "file").write_text("x")
    (plain / "link").symlink_to("file")
    cairn("encrypt", plain, tmp_path / "vol", "--key-file", volume / "key", "--log-n", 10, "-q")
    with MockS3() as mock:
        assert "links followed" in cairn("push", tmp_path / "vol", "s3://models/m", "-q", env=mock.environment(), code=27).stderr
        assert "not a gocryptfs volume" in cairn("push", plain, "s3://models/m", "-q", env=mock.environment(), code=1).stderr
        assert not mock.objects


def test_gocryptfs_takes_no_notice_of_the_list(volume, tmp_path):
    """A volume as it lies in the store, with the list of its objects, for the real gocryptfs."""
    if shutil.which("gocryptfs") is None:
        pytest.skip("gocryptfs is not installed")
    with MockS3() as mock:
        cairn("push", volume / "vol", "s3://models/m", "-q", env=mock.environment())
        for key, o in mock.objects.items():
            file = tmp_path / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(bytes(o.data))
    done = subprocess.run(["gocryptfs", "-fsck", "-q", "-passfile", str(volume / "key"), str(tmp_path / "m")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
