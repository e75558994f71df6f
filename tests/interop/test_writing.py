"""The read-write mount: random changes made through it and to a plain folder end alike, error by error, and gocryptfs reads
the result. CAIRN_WRITING_STEPS makes it longer."""

import errno
import os
import random
import shutil
import subprocess
import time

import pytest

from test_gocryptfs import BIN, CACHEFS, Gocryptfs, fingerprint, is_mounted

STEPS = int(os.environ.get("CAIRN_WRITING_STEPS", "4000"))
OURS = [str(BIN / "cairn-cachefs"), "gocryptfs"]

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not shutil.which("gocryptfs"),
                       reason="needs root, /dev/fuse and gocryptfs"),
    pytest.mark.skipif(not CACHEFS.exists(), reason="cairn-cachefs is not built"),
]


def run(program, *words):
    return subprocess.run(program + [str(w) for w in words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, timeout=60).returncode


def unmount(where):
    for _ in range(100):
        if subprocess.run(["umount", str(where)], capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    raise AssertionError("stays busy")


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    path.write_text("pw\n")
    return path


@pytest.fixture(params=[[], ["-plaintextnames"], ["-xchacha"], ["-deterministic-names"]], ids=lambda w: "".join(w) or "default")
def mount(request, tmp_path, key):
    volume, where = tmp_path / "v", tmp_path / "m"
    volume.mkdir()
    where.mkdir()
    assert run(["gocryptfs"], "-init", "-q", "-scryptn", "10", *request.param, "-passfile", key, volume) == 0
    assert run(OURS, "-q", "-allow_other", "-passfile", key, volume, where) == 0
    yield where
    if is_mounted(where):
        unmount(where)


NAMES = ["a", "b", "c.txt", "é", "模型", "new\nline", "x" * 175, "y" * 176, "z" * 255, "gocryptfs.diriv", "gocryptfs.longname.x", "d"]


def names(generator):
    return "/".join(generator.choice(NAMES) for _ in range(generator.choice([1, 1, 1, 2, 2, 3])))


def with_file(path, flags, act):
    fd = os.open(path, flags)
    try:
        return act(fd)
    finally:
        os.close(fd)


def change(root, what, generator):
    """One operation, drawn from the generator; returns what the caller saw."""
    path = os.path.join(root, names(generator))
    other = os.path.join(root, names(generator))
    size = generator.choice([0, 1, 17, 4095, 4096, 4097, 8192, 70_000])
    at = generator.choice([0, 1, 4095, 4096, 4100, 12_288, 50_000])
    data = generator.randbytes(size)
    mode = generator.choice([0o600, 0o644, 0o751, 0o400])
    try:
        if what == "create":
            return with_file(path, os.O_WRONLY | os.O_CREAT | generator.choice([0, os.O_EXCL, os.O_TRUNC]), lambda f: os.write(f, data))
        if what == "write":
            return with_file(path, os.O_RDWR, lambda f: os.pwrite(f, data, at))
        if what == "append":
            return with_file(path, os.O_WRONLY | os.O_APPEND, lambda f: os.write(f, data))
        if what == "truncate":
            return os.truncate(path, at + size)
        if what == "read":
            return with_file(path, os.O_RDONLY, lambda f: os.pread(f, size, at))
        if what == "allocate":
            return with_file(path, os.O_RDWR, lambda f: os.posix_fallocate(f, at, size + 1))
        if what == "mkdir":
            return os.mkdir(path, mode | 0o700)
        if what == "rmdir":
            return os.rmdir(path)
        if what == "unlink":
            return os.unlink(path)
        if what == "rename":
            return os.rename(path, other)
        if what == "link":
            return os.link(path, other, follow_symlinks=False)
        if what == "symlink":
            return os.symlink(generator.choice(["a", "../b", "/nowhere", "t" * 3000]), path)
        if what == "readlink":
            return os.readlink(path)
        if what == "chmod":
            return os.chmod(path, mode | 0o600) if not os.path.islink(path) else None
        if what == "times":
            return os.utime(path, (1, at), follow_symlinks=False)
        if what == "list":
            return sorted(os.listdir(path))
        if what == "stat":
            s = os.lstat(path)
            return s.st_mode, s.st_uid, s.st_nlink if not os.path.isdir(path) else 0, s.st_size if not os.path.isdir(path) else 0
        if what == "attribute":
            os.setxattr(path, "user.x" + "y" * generator.randrange(3), data[:200], follow_symlinks=False)
            return sorted(os.listxattr(path, follow_symlinks=False))
        if what == "attributes":
            return {n: os.getxattr(path, n, follow_symlinks=False) for n in sorted(os.listxattr(path, follow_symlinks=False))}
    except OSError as e:
        return errno.errorcode[e.errno]
    raise AssertionError(what)


KINDS = ["create"] * 4 + ["write"] * 4 + ["mkdir"] * 2 + ["rename"] * 3 + ["append", "truncate", "truncate", "read", "read", "allocate",
         "rmdir", "rmdir", "unlink", "link", "symlink", "symlink", "readlink", "readlink", "chmod", "times", "list", "stat",
         "attribute", "attributes"]


def test_random_changes_end_as_in_a_plain_folder(tmp_path, mount, key):
    plain = tmp_path / "plain"
    plain.mkdir()
    order = random.Random(5)
    outcomes = {}
    for step in range(STEPS):
        what, seed = order.choice(KINDS), order.random()
        seen = [change(str(root), what, random.Random(seed)) for root in (plain, mount)]
        assert seen[0] == seen[1], (step, what, [str(s)[:200] for s in seen])
        outcomes.setdefault(what, [0, 0])[seen[0] in errno.errorcode.values()] += 1
    assert [what for what, (good, _) in outcomes.items() if good == 0] == []
    wanted = fingerprint(plain)
    assert len(wanted) > 20
    assert fingerprint(mount) == wanted
    unmount(mount)
    volume = tmp_path / "v"
    assert run(["gocryptfs"], "-fsck", "-q", "-passfile", key, volume) == 0
    assert run(OURS, "-fsck", "-q", "-passfile", key, volume) == 0
    with Gocryptfs(volume, mount, key, "-ro") as theirs:
        assert fingerprint(theirs) == wanted
    assert [p for p in volume.rglob("*.name") if not os.path.lexists(p.with_suffix(""))] == []


def test_an_open_file_outlives_its_name(mount):
    path = mount / "f"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(fd, b"x" * 5000)
    os.unlink(path)
    assert os.pread(fd, 10, 4990) == b"x" * 10
    os.pwrite(fd, b"y", 9000)
    assert os.fstat(fd).st_size == 9001
    os.close(fd)
    assert os.listdir(mount) == []


def test_two_descriptors_see_one_file(mount):
    a = os.open(mount / "f", os.O_RDWR | os.O_CREAT)
    b = os.open(mount / "f", os.O_RDONLY)
    os.write(a, b"first")
    assert os.pread(b, 10, 0) == b"first"
    os.ftruncate(a, 0)
    os.pwrite(a, b"second, with another header", 0)
    assert os.pread(b, 100, 0) == b"second, with another header"
    os.close(a)
    os.close(b)


def test_new_entries_belong_to_the_caller(mount):
    os.chmod(mount, 0o777)
    script = "mkdir d && echo hi > d/f && ln -s d/f l && stat -c %u d d/f l"
    out = subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=mount, user=12345, group=12345, extra_groups=[])
    assert out.returncode == 0, out.stderr
    assert out.stdout.split() == ["12345"] * 3


def test_copying_a_tree_in_and_out(tmp_path, mount):
    source = tmp_path / "source"
    source.mkdir()
    for i in range(200):
        (source / f"d{i % 7}").mkdir(exist_ok=True)
        (source / f"d{i % 7}" / f"f{i}").write_bytes(os.urandom(i * 97))
    subprocess.run(["cp", "-a", str(source), str(mount / "copy")], check=True, timeout=120)
    assert fingerprint(mount / "copy") == fingerprint(source)
    shutil.rmtree(mount / "copy")
    assert os.listdir(mount) == []
