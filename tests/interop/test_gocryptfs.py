"""Volumes of ours opened by gocryptfs, volumes of gocryptfs opened by ours, byte for byte and name for name."""

import hashlib
import json
import os
import pathlib
import random
import shutil
import stat
import subprocess
import time

import pytest

BIN = pathlib.Path(os.environ.get("CAIRN_BIN", pathlib.Path(__file__).resolve().parents[2] / "build/dev/bin"))
CAIRN, CACHEFS = BIN / "cairn", BIN / "cairn-cachefs"
PASSWORD = "correct horse"
LOG_N = "10"  # scrypt's cost is not what is tested here
FLAG_SETS = [[], ["-xchacha"], ["-aessiv"], ["-plaintextnames"], ["-deterministic-names"], ["-longnamemax", "62"],
             ["-raw64=false"], ["-hkdf=false", "-raw64=false"]]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not shutil.which("gocryptfs"),
                       reason="needs root, /dev/fuse and gocryptfs"),
    pytest.mark.skipif(not CAIRN.exists() or not CACHEFS.exists(), reason="cairn and cairn-cachefs are not built"),
]


def run(*command, **kwargs):
    return subprocess.run([str(c) for c in command], capture_output=True, timeout=300, **kwargs)


def check(*command, **kwargs):
    done = run(*command, **kwargs)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
    return done


def is_mounted(path):
    return any(line.split()[4] == str(path) for line in open("/proc/self/mountinfo"))


class Gocryptfs:
    def __init__(self, volume, where, key, *options):
        where.mkdir(exist_ok=True)
        # The daemon keeps the descriptors it was given: a pipe would never end.
        command = ["gocryptfs", "-q", "-nosyslog", "-passfile", key, *options, volume, where]
        assert subprocess.run([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60).returncode == 0
        self.where = where

    def __enter__(self):
        return self.where

    def __exit__(self, *_):
        for _ in range(100):
            if subprocess.run(["umount", str(self.where)], capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        subprocess.run(["umount", "-l", str(self.where)])


class Cachefs:
    def __init__(self, volume, where, key, *options):
        where.mkdir(exist_ok=True)
        self.where, self.log = where, where.with_suffix(".log")
        read_end, write_end = os.pipe()
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [str(CACHEFS), "mount", "--source", str(volume), "--mountpoint", str(where), "--passfile", str(key),
                 "--mode", "streaming", "--ready-fd", str(write_end), *options], stderr=log, pass_fds=[write_end])
        os.close(write_end)
        self.ready = os.read(read_end, 6) == b"ready\n"
        os.close(read_end)

    def __enter__(self):
        assert self.ready, self.log.read_text()
        return self.where

    def __exit__(self, *_):
        self.process.terminate()
        assert self.process.wait(20) == 0
        assert not is_mounted(self.where)


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_text(PASSWORD + "\n")
    return path


def hostile_names(generator, count):
    names = {"-rf", "...", " ", "\n", "a\nb", "'\"`$()", "\\", "\x7f", "é", "e\u0301", "模型", "gocryptfs.conf", "gocryptfs.diriv",
             "gocryptfs.longname.x", "gocryptfs.longname.x.name", ".cairn-manifest.json.bak", "*", "?", "CON", "x" * 255, "y" * 176,
             "z" * 175}
    out = [n.encode() for n in sorted(names)]
    for length in range(1, 256):
        out.append(bytes(generator.choice([b for b in range(1, 256) if b != ord("/")]) for _ in range(length)))
    while len(out) < count:
        out.append(b"plain-%06d" % len(out))
    return [n for n in dict.fromkeys(out) if n not in (b".", b"..")]


def make_tree(root, count=400, seed=1, sparse=False):
    generator = random.Random(seed)
    root.mkdir(exist_ok=True)
    base = os.fsencode(root)
    sizes = [0, 1, 4095, 4096, 4097, 8192, 131071, 131072, 131073]
    folders = [base, base + b"/sub", base + b"/sub/" + b"D" * 200, base + b"/\xff\xfe\n"]
    for folder in folders[1:]:
        os.mkdir(folder)
    os.mkdir(base + b"/empty folder")
    for i, name in enumerate(hostile_names(generator, count)):
        with open(folders[i % len(folders)] + b"/" + name, "wb") as f:
            f.write(generator.randbytes(sizes[i % len(sizes)] if i < 60 else generator.randrange(200)))
    for i, target in enumerate([b"a", b"../x", b"/absolute/path", b"\xff\n", b"t" * 1000, b"t" * 3000]):
        os.symlink(target, base + b"/link%d" % i)
    os.chmod(base + b"/-rf", 0o751)
    if sparse:
        with open(base + b"/sparse", "wb") as f:
            f.truncate(2 << 30)
            f.seek(1 << 30)
            f.write(b"in the middle")


def fingerprint(root, skip=()):
    out, base = {}, os.fsencode(root)
    for folder, folders, files in os.walk(base):
        for name in folders + files:
            path = os.path.join(folder, name)
            status, relative = os.lstat(path), os.path.relpath(path, base)
            if relative in skip:
                continue
            if stat.S_ISLNK(status.st_mode):
                out[relative] = ("link", os.readlink(path), status.st_size)
            elif stat.S_ISDIR(status.st_mode):
                out[relative] = ("folder",)
            else:
                with open(path, "rb") as f:
                    out[relative] = ("file", status.st_size, stat.S_IMODE(status.st_mode), hashlib.file_digest(f, "sha256").hexdigest())
    return out


def encrypt(source, volume, key, *options):
    return check(CAIRN, "model", "encrypt", source, volume, "--key-file", key, "--log-n", LOG_N, "-q", *options)


def test_ours_opened_by_gocryptfs(tmp_path, key):
    make_tree(tmp_path / "plain", count=5000)
    encrypt(tmp_path / "plain", tmp_path / "volume", key, "--no-manifest")
    fsck = check("gocryptfs", "-fsck", "-nosyslog", "-passfile", key, tmp_path / "volume")
    assert b"no problems found" in fsck.stdout, fsck
    assert b"arning" not in fsck.stdout + fsck.stderr, fsck
    with Gocryptfs(tmp_path / "volume", tmp_path / "mnt", key) as where:
        assert fingerprint(where) == fingerprint(tmp_path / "plain")


@pytest.mark.parametrize("flags", FLAG_SETS, ids=lambda f: "".join(f) or "default")
def test_gocryptfs_opened_by_ours(tmp_path, key, flags):
    volume = tmp_path / "volume"
    volume.mkdir()
    check("gocryptfs", "-init", "-q", "-nosyslog", "-scryptn", LOG_N, "-passfile", key, *flags, volume)
    plain = tmp_path / "plain"
    make_tree(plain, count=5000 if not flags else 400, sparse=not flags)
    refused = (b"gocryptfs.conf",) if flags == ["-plaintextnames"] else ()
    for name in refused:
        for path in list(plain.rglob(name.decode())):
            path.unlink()
    with Gocryptfs(volume, tmp_path / "their", key) as where:
        check("cp", "-a", "--sparse=always", f"{plain}/.", where)
        check("setfattr", "-n", "user.note", "-v", "kept", where / "-rf")
    want = fingerprint(plain)
    if flags and "-raw64=false" not in flags:  # which gocryptfs takes no notice of
        strict = Cachefs(volume, tmp_path / "strict", key)
        assert strict.process.wait(20) != 0 and not strict.ready
        assert "not the default flag set" in strict.log.read_text() and "--allow-features" in strict.log.read_text()
    with Cachefs(volume, tmp_path / "ours", key, "--allow-features", "--allow-holes") as where:
        assert fingerprint(where) == want
        assert os.getxattr(where / "-rf", "user.note") == b"kept"
    fsck = run(CAIRN, "model", "fsck", volume, "--key-file", key, "-q")
    assert fsck.returncode == 0, fsck
    check(CAIRN, "model", "decrypt", volume, tmp_path / "back", "--key-file", key, "-q")
    assert fingerprint(tmp_path / "back") == want


def test_manifest_is_a_file_that_gocryptfs_shows(tmp_path, key):
    (tmp_path / "plain/sub").mkdir(parents=True)
    (tmp_path / "plain/config.json").write_text("{}")
    (tmp_path / "plain/sub/weights").write_bytes(os.urandom(1 << 20))
    done = encrypt(tmp_path / "plain", tmp_path / "volume", key, "--name", "m", "--json")
    with Gocryptfs(tmp_path / "volume", tmp_path / "mnt", key, "-ro") as where:
        manifest = (where / ".cairn-manifest.json").read_bytes()
        weights = (where / "sub/weights").read_bytes()
    digest = json.loads(done.stdout)["manifest"]
    assert digest == "sha384:" + hashlib.sha384(manifest).hexdigest()
    listed = {f["path"]: f for f in json.loads(manifest)["files"]}
    assert listed["sub/weights"]["sha384"] == hashlib.sha384(weights).hexdigest()
    with Cachefs(tmp_path / "volume", tmp_path / "ours", key, "--verify", "full", "--expect-root", digest) as where:
        assert (where / "sub/weights").read_bytes() == weights


def test_passwords_changed_by_either(tmp_path, key):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/file").write_text("x")
    encrypt(tmp_path / "plain", tmp_path / "volume", key)
    second, third = tmp_path / "second", tmp_path / "third"
    second.write_text("second")
    third.write_text("third\n")
    check("gocryptfs", "-passwd", "-q", "-nosyslog", "-scryptn", LOG_N, tmp_path / "volume", input=key.read_bytes() + b"second\n")
    assert run(CAIRN, "model", "ls", tmp_path / "volume", "--key-file", key).returncode == 12
    check(CAIRN, "model", "passwd", tmp_path / "volume", "--key-file", second, "--new-key-file", third, "--log-n", LOG_N)
    assert run("gocryptfs", "-fsck", "-q", "-nosyslog", "-passfile", second, tmp_path / "volume").returncode == 12
    check("gocryptfs", "-fsck", "-q", "-nosyslog", "-passfile", third, tmp_path / "volume")


def pages(path):
    """Every page of a file: its bytes, or the error."""
    out = []
    with open(path, "rb", buffering=0) as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for at in range(0, max(os.fstat(f.fileno()).st_size, 1), 4096):
            try:
                out.append(os.pread(f.fileno(), 4096, at))
            except OSError as error:
                out.append(error.errno)
    return out


@pytest.mark.parametrize("seed", range(12))
def test_damage_is_seen_alike(tmp_path, key, seed):
    """The same damage under both: equal pages, equal errors; ours may refuse a zeroed block, never the reverse."""
    generator = random.Random(seed)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/file").write_bytes(generator.randbytes(60_000))
    encrypt(tmp_path / "plain", tmp_path / "volume", key, "--no-manifest")
    stored = max((p for p in (tmp_path / "volume").iterdir()), key=lambda p: p.stat().st_size)
    data = bytearray(stored.read_bytes())
    kind = seed % 4
    if kind == 0:
        for _ in range(5):
            data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    elif kind == 1:
        at = 18 + 4128 * generator.randrange(10)
        data[at:at + 4128], data[at + 4128:at + 8256] = data[at + 4128:at + 8256], data[at:at + 4128]
    elif kind == 2:
        data = data[:generator.randrange(18, len(data))]
    else:
        at = 18 + 4128 * generator.randrange(10)
        data[at:at + 4128] = bytes(4128)
    stored.write_bytes(data)
    with Gocryptfs(tmp_path / "volume", tmp_path / "their", key, "-ro") as their, \
            Cachefs(tmp_path / "volume", tmp_path / "ours", key) as ours:
        theirs, own = pages(their / "file"), pages(ours / "file")
        assert len(theirs) == len(own)
        for a, b in zip(theirs, own):
            assert a == b or (kind == 3 and a == bytes(4096) and b == 5), (seed, a, b)
        assert kind == 2 or any(isinstance(p, int) for p in own)


def test_nothing_stays_mounted(tmp_path, key):
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/file").write_bytes(os.urandom(1 << 20))
    encrypt(tmp_path / "plain", tmp_path / "volume", key)
    mount = Cachefs(tmp_path / "volume", tmp_path / "mnt", key)
    assert mount.ready and is_mounted(mount.where)
    mount.process.kill()
    mount.process.wait()
    for _ in range(100):
        if not is_mounted(mount.where):
            break
        time.sleep(0.05)
    assert not is_mounted(mount.where)


def test_an_interrupted_encryption_goes_on(tmp_path, key):
    (tmp_path / "plain").mkdir()
    for i in range(60):
        (tmp_path / f"plain/f{i:02}").write_bytes(os.urandom(4 << 20))
    command = [str(CAIRN), "model", "encrypt", str(tmp_path / "plain"), str(tmp_path / "volume"), "--key-file", str(key),
               "--log-n", LOG_N, "--json", "-q"]
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(0.25)
        process.kill()
        if process.wait() == 0:
            break
        assert not (tmp_path / "volume").exists()
    if not (tmp_path / "volume").exists():
        check(*command)
    assert not (tmp_path / "volume.partial").exists()
    with Gocryptfs(tmp_path / "volume", tmp_path / "mnt", key, "-ro") as where:
        assert fingerprint(where, skip=(b".cairn-manifest.json",)) == fingerprint(tmp_path / "plain")
