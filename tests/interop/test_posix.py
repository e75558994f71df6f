"""What POSIX promises, asked of a plain folder, of a gocryptfs mount and of ours: wherever gocryptfs does as the plain
folder does, ours has to. And fsx: one file, random reads, writes, mappings, truncations, allocations."""

import ctypes
import errno
import json
import mmap
import os
import pathlib
import random
import socket
import stat
import sys
import tempfile
import time

import pytest

from test_gocryptfs import Gocryptfs
from test_writing import OURS, key, mount, pytestmark, run, unmount  # noqa: F401 (fixtures and marks)

FSX_STEPS = int(os.environ.get("CAIRN_FSX_STEPS", "3000"))
NOBODY = 65534
libc = ctypes.CDLL(None, use_errno=True)
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
PUNCH_HOLE_KEEP_SIZE = 3

CASES = {}


def case(act):
    CASES[act.__name__] = act
    return act


def refused(act, *words, **kwargs):
    """The error's name, or what came back."""
    try:
        return act(*words, **kwargs)
    except OSError as e:
        return errno.errorcode[e.errno]


def touch(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    os.write(fd, data)
    os.close(fd)
    return path


def as_user(uid, act):
    """What `act` returns as another user, in a process of its own."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        os.write(write_end, json.dumps(act()).encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as f:
        text = f.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(text)


def renameat2(old, new, flags):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) != 0:
        return errno.errorcode[ctypes.get_errno()]
    return "done"


def opened(path, flags, mode=0o644):
    def act():
        os.close(os.open(path, flags, mode))
        return "opened"
    return refused(act)


@case
def names_that_are_too_long(d):
    return [refused(touch, f"{d}/{'n' * 256}"), refused(os.mkdir, f"{d}/{'n' * 256}"), refused(os.symlink, "x", f"{d}/{'n' * 256}"),
            refused(os.stat, f"{d}/{'n' * 256}"), refused(os.stat, d + "/x" * 2500)]


@case
def paths_through_files(d):
    touch(f"{d}/f")
    return [refused(os.stat, f"{d}/f/x"), refused(os.mkdir, f"{d}/f/x"), refused(os.unlink, f"{d}/f/x"), refused(touch, f"{d}/f/x"),
            refused(os.rename, f"{d}/f", f"{d}/f/x"), refused(os.link, f"{d}/f", f"{d}/f/x"), refused(os.listdir, f"{d}/f")]


@case
def what_is_not_there(d):
    return [refused(os.unlink, f"{d}/x"), refused(os.rmdir, f"{d}/x"), refused(os.rename, f"{d}/x", f"{d}/y"), refused(os.link, f"{d}/x", f"{d}/y"),
            refused(os.chmod, f"{d}/x", 0o600), refused(os.chown, f"{d}/x", 1, 1), refused(os.truncate, f"{d}/x", 1),
            refused(os.mkdir, f"{d}/x/y"), refused(os.readlink, f"{d}/x"), refused(os.utime, f"{d}/x"), opened(f"{d}/x", os.O_RDONLY)]


@case
def what_is_there_already(d):
    touch(f"{d}/f")
    os.mkdir(f"{d}/d")
    os.symlink("nowhere", f"{d}/l")
    return [[refused(os.mkdir, f"{d}/{n}"), refused(os.symlink, "x", f"{d}/{n}"), refused(os.link, f"{d}/f", f"{d}/{n}"),
             refused(os.mkfifo, f"{d}/{n}"), opened(f"{d}/{n}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)] for n in "fdl"]


@case
def the_wrong_kind(d):
    touch(f"{d}/f")
    os.mkdir(f"{d}/d")
    touch(f"{d}/d/x")
    return [refused(os.rmdir, f"{d}/f"), refused(os.unlink, f"{d}/d"), refused(os.rmdir, f"{d}/d"), refused(os.link, f"{d}/d", f"{d}/y"),
            refused(os.readlink, f"{d}/f"), refused(os.readlink, f"{d}/d"), refused(os.truncate, f"{d}/d", 0), opened(f"{d}/d", os.O_WRONLY),
            opened(f"{d}/d", os.O_RDWR), opened(f"{d}/f", os.O_RDONLY | os.O_DIRECTORY), refused(os.rmdir, f"{d}/d/."), refused(os.rmdir, f"{d}/d/..")]


@case
def renames(d):
    for n in ("a", "b"):
        os.mkdir(f"{d}/{n}")
        touch(f"{d}/f{n}", n.encode())
    touch(f"{d}/b/x")
    out = [refused(os.rename, f"{d}/fa", f"{d}/a"), refused(os.rename, f"{d}/a", f"{d}/fa"), refused(os.rename, f"{d}/a", f"{d}/b"),
           refused(os.rename, f"{d}/a", f"{d}/a/in"), refused(os.rename, f"{d}/b", f"{d}/a"), sorted(os.listdir(f"{d}/a")),
           refused(os.rename, f"{d}/fa", f"{d}/fa"), refused(os.rename, f"{d}/fa", f"{d}/fb"), open(f"{d}/fb").read()]
    touch(f"{d}/one", b"same")
    os.link(f"{d}/one", f"{d}/two")
    return out + [refused(os.rename, f"{d}/one", f"{d}/two"), os.path.exists(f"{d}/one"), os.stat(f"{d}/two").st_nlink]


@case
def renames_with_flags(d):
    touch(f"{d}/a", b"a")
    touch(f"{d}/b", b"b")
    os.mkdir(f"{d}/d")
    out = [renameat2(f"{d}/a", f"{d}/b", RENAME_NOREPLACE), renameat2(f"{d}/a", f"{d}/c", RENAME_NOREPLACE),
           renameat2(f"{d}/c", f"{d}/b", RENAME_EXCHANGE), renameat2(f"{d}/c", f"{d}/d", RENAME_EXCHANGE),
           renameat2(f"{d}/none", f"{d}/d", RENAME_EXCHANGE), renameat2(f"{d}/c", f"{d}/e", 99)]
    return out + [sorted(os.listdir(d))]


@case
def an_open_file_that_is_replaced(d):
    touch(f"{d}/new", b"new")
    touch(f"{d}/old", b"old")
    fd = os.open(f"{d}/old", os.O_RDWR)
    os.rename(f"{d}/new", f"{d}/old")
    out = [os.read(fd, 9).decode(), os.fstat(fd).st_nlink, open(f"{d}/old").read()]
    os.ftruncate(fd, 10_000)
    out += [os.fstat(fd).st_size, os.stat(f"{d}/old").st_size]
    os.close(fd)
    return out


@case
def links(d):
    touch(f"{d}/f", b"x")
    out = []
    for i in range(5):
        os.link(f"{d}/f", f"{d}/l{i}")
        out.append(os.stat(f"{d}/f").st_nlink)
    os.truncate(f"{d}/l3", 5000)
    os.chmod(f"{d}/l4", 0o640)
    s = os.stat(f"{d}/f")
    out += [s.st_size, oct(s.st_mode), len({os.stat(f"{d}/l{i}").st_ino for i in range(5)})]
    for i in range(5):
        os.unlink(f"{d}/l{i}")
    return out + [os.stat(f"{d}/f").st_nlink]


@case
def symbolic_links(d):
    os.symlink("loop", f"{d}/loop")
    os.symlink("x" * 1000, f"{d}/far")
    os.mkdir(f"{d}/d")
    os.symlink("d", f"{d}/to-d")
    touch(f"{d}/to-d/f", b"hi")
    s = os.lstat(f"{d}/far")
    return [refused(os.stat, f"{d}/loop"), opened(f"{d}/loop", os.O_RDONLY), opened(f"{d}/to-d", os.O_RDONLY | os.O_NOFOLLOW), s.st_size,
            oct(s.st_mode), len(os.readlink(f"{d}/far")), open(f"{d}/d/f").read(), refused(os.symlink, "t" * 4096, f"{d}/t"),
            refused(os.symlink, "", f"{d}/e"), refused(os.rmdir, f"{d}/to-d"), refused(os.unlink, f"{d}/to-d"), sorted(os.listdir(d))]


@case
def modes(d):
    out = []
    for mode in (0, 0o777, 0o4755, 0o2755, 0o1777, 0o6000):
        touch(f"{d}/f{mode}")
        os.chmod(f"{d}/f{mode}", mode)
        out.append(oct(os.stat(f"{d}/f{mode}").st_mode))
    before = os.umask(0o027)
    touch(f"{d}/masked", mode=0o666)
    os.mkdir(f"{d}/masked-d", 0o777)
    os.umask(before)
    return out + [oct(os.stat(f"{d}/masked").st_mode), oct(os.stat(f"{d}/masked-d").st_mode)]


@case
def owners(d):
    touch(f"{d}/f")
    os.chmod(f"{d}/f", 0o6755)
    os.chown(f"{d}/f", 100, 200)
    s = os.stat(f"{d}/f")
    os.chown(f"{d}/f", -1, 300)
    t = os.stat(f"{d}/f")
    os.symlink("f", f"{d}/l")
    os.lchown(f"{d}/l", 7, 8)
    u, v = os.lstat(f"{d}/l"), os.stat(f"{d}/f")
    return [s.st_uid, s.st_gid, oct(s.st_mode), t.st_uid, t.st_gid, u.st_uid, u.st_gid, v.st_uid]


@case
def a_write_by_another_takes_the_bits_away(d):
    touch(f"{d}/f", b"x")
    os.chmod(f"{d}/f", 0o6777)
    return [as_user(NOBODY, lambda: refused(lambda: touch(f"{d}/f", b"y") and "written")), oct(os.stat(f"{d}/f").st_mode)]


@case
def a_folder_gives_its_group_on(d):
    os.mkdir(f"{d}/d")
    os.chown(f"{d}/d", 0, 777)
    os.chmod(f"{d}/d", 0o2775)
    touch(f"{d}/d/f")
    os.mkdir(f"{d}/d/sub")
    return [os.stat(f"{d}/d/f").st_gid, os.stat(f"{d}/d/sub").st_gid, oct(os.stat(f"{d}/d/sub").st_mode)]


@case
def who_may_what(d):
    touch(f"{d}/secret", mode=0o600)
    touch(f"{d}/shown", mode=0o644)
    os.mkdir(f"{d}/closed", 0o700)
    touch(f"{d}/closed/x")
    os.mkdir(f"{d}/open")
    os.chmod(f"{d}/open", 0o777)
    os.mkdir(f"{d}/sticky")
    os.chmod(f"{d}/sticky", 0o1777)
    touch(f"{d}/sticky/of-root")

    def act():
        return [opened(f"{d}/secret", os.O_RDONLY), opened(f"{d}/shown", os.O_RDONLY), opened(f"{d}/shown", os.O_WRONLY),
                refused(os.stat, f"{d}/closed/x"), refused(os.listdir, f"{d}/closed"), refused(os.chmod, f"{d}/shown", 0o777),
                refused(os.chown, f"{d}/shown", NOBODY, NOBODY), refused(os.utime, f"{d}/shown"), refused(os.mkdir, f"{d}/x"),
                refused(os.mkdir, f"{d}/open/mine"), refused(os.unlink, f"{d}/shown"), refused(os.unlink, f"{d}/sticky/of-root"),
                refused(os.rename, f"{d}/sticky/of-root", f"{d}/sticky/x"), refused(os.rename, f"{d}/shown", f"{d}/open/shown"),
                refused(os.link, f"{d}/shown", f"{d}/open/link"), refused(os.truncate, f"{d}/shown", 0),
                [os.access(f"{d}/{n}", os.R_OK) for n in ("secret", "shown", "closed")], [os.access(f"{d}/{n}", os.W_OK) for n in ("open", "shown")]]

    return as_user(NOBODY, act) + [os.stat(f"{d}/open/mine").st_uid]


@case
def times_that_are_set(d):
    touch(f"{d}/f")
    os.utime(f"{d}/f", ns=(1_234_567_890_123_456_789, 987_654_321_000_000_001))
    s = os.stat(f"{d}/f")
    os.utime(f"{d}/f", ns=(0, 0))
    t = os.stat(f"{d}/f")
    os.utime(f"{d}/f", ns=(2**33 * 10**9, 2**33 * 10**9))
    return [s.st_atime_ns, s.st_mtime_ns, t.st_mtime_ns, os.stat(f"{d}/f").st_mtime_ns]


def times_after(path, act):
    os.utime(path, ns=(10**18, 10**18))
    before = os.stat(path)
    time.sleep(0.02)
    act()
    after = os.stat(path)
    return [after.st_mtime_ns > before.st_mtime_ns, after.st_ctime_ns > before.st_ctime_ns]


@case
def times_that_follow(d):
    f, sub = touch(f"{d}/f", b"0123456789"), f"{d}/sub"
    os.mkdir(sub)

    def write():
        fd = os.open(f, os.O_WRONLY)
        os.pwrite(fd, b"x", 3)
        os.close(fd)
    return [times_after(f, write), times_after(f, lambda: os.truncate(f, 3)), times_after(f, lambda: os.chmod(f, 0o600)),
            times_after(f, lambda: os.link(f, f"{d}/l")), times_after(f, lambda: os.rename(f"{d}/l", f"{d}/m")),
            times_after(f, lambda: os.unlink(f"{d}/m")), times_after(sub, lambda: touch(f"{sub}/x")),
            times_after(sub, lambda: os.rename(f"{sub}/x", f"{sub}/y")), times_after(sub, lambda: os.unlink(f"{sub}/y")),
            times_after(sub, lambda: os.mkdir(f"{sub}/z")), times_after(f, lambda: opened(f, os.O_WRONLY | os.O_TRUNC))]


@case
def how_files_are_opened(d):
    touch(f"{d}/f", b"0123456789")
    fd = os.open(f"{d}/f", os.O_RDWR | os.O_APPEND)
    os.lseek(fd, 2, os.SEEK_SET)
    os.write(fd, b"ab")
    out = [os.lseek(fd, 0, os.SEEK_CUR), os.pread(fd, 99, 0).decode()]
    os.close(fd)
    read_only, write_only = os.open(f"{d}/f", os.O_RDONLY), os.open(f"{d}/f", os.O_WRONLY)
    out += [refused(os.write, read_only, b"x"), refused(os.read, write_only, 1), refused(os.ftruncate, read_only, 0)]
    os.close(read_only)
    os.close(write_only)
    return out + [opened(f"{d}/f", os.O_WRONLY | os.O_TRUNC), os.stat(f"{d}/f").st_size, opened(f"{d}/n", os.O_RDONLY | os.O_CREAT, 0),
                  opened(f"{d}/n", os.O_RDWR)]


@case
def a_new_file_without_write_permission_is_written(d):
    fd = os.open(f"{d}/f", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    os.write(fd, b"x" * 5000)
    os.close(fd)
    return [os.stat(f"{d}/f").st_size, oct(os.stat(f"{d}/f").st_mode)]


@case
def sizes(d):
    touch(f"{d}/f", b"x" * 10_000)
    out = []
    for size in (9_999, 4096, 4095, 1, 0, 5000, 123_456, 2**33 + 5):
        os.truncate(f"{d}/f", size)
        out.append(os.stat(f"{d}/f").st_size)
    fd = os.open(f"{d}/f", os.O_RDWR)
    out += [os.pread(fd, 4, 2**33).hex(), os.pwrite(fd, b"end", 2**33 + 100), os.fstat(fd).st_size, os.pread(fd, 9, 2**33 + 98).hex()]
    os.close(fd)
    return out + [refused(os.truncate, f"{d}/f", -1), os.stat(f"{d}/f").st_blocks < 10_000]


@case
def vectors_and_positions(d):
    fd = os.open(f"{d}/f", os.O_RDWR | os.O_CREAT)
    out = [os.writev(fd, [b"a" * 4000, b"", b"b" * 5000]), os.lseek(fd, -10, os.SEEK_END), os.read(fd, 100).decode(), os.read(fd, 100).decode(),
           os.pwritev(fd, [b"x", b"y"], 4095), os.pread(fd, 4, 4094).decode(), refused(os.lseek, fd, -1, os.SEEK_SET)]
    got = [bytearray(10), bytearray(20)]
    out += [os.preadv(fd, got, 3995), bytes(got[0]).decode(), bytes(got[1]).decode()]
    os.close(fd)
    return out


@case
def copying_inside(d):
    touch(f"{d}/a", bytes(range(256)) * 64)
    a, b = os.open(f"{d}/a", os.O_RDONLY), os.open(f"{d}/b", os.O_RDWR | os.O_CREAT)
    done = 0
    while done < 10_000:
        done += os.copy_file_range(a, b, 10_000 - done)
    out = [done, os.pread(b, 3, 5000).hex(), os.sendfile(b, a, 0, 100)]
    os.close(a)
    os.close(b)
    return out


@case
def syncing(d):
    fd = os.open(f"{d}/f", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"x")
    folder = os.open(d, os.O_RDONLY)
    out = [refused(os.fsync, fd), refused(os.fdatasync, fd), refused(os.fsync, folder)]
    os.close(fd)
    os.close(folder)
    return out


@case
def a_mapping_is_the_file(d):
    touch(f"{d}/f", b"x" * 20_000)
    fd = os.open(f"{d}/f", os.O_RDWR)
    with mmap.mmap(fd, 20_000) as view:
        view[5000:5005] = b"hello"
        view.flush()
        out = [os.pread(fd, 7, 4999).decode(), open(f"{d}/f", "rb").read(5010)[4999:].decode()]
        os.pwrite(fd, b"world", 9000)
        out.append(bytes(view[8999:9006]).decode())
    os.close(fd)
    return out


@case
def other_kinds(d):
    out = [refused(os.mkfifo, f"{d}/fifo", 0o640), oct(os.stat(f"{d}/fifo").st_mode)]
    with socket.socket(socket.AF_UNIX) as s:
        folder = os.open(d, os.O_RDONLY)
        out.append(refused(s.bind, f"/proc/self/fd/{folder}/s"))
        os.close(folder)
    out.append(stat.S_ISSOCK(os.stat(f"{d}/s").st_mode))
    out.append(refused(os.mknod, f"{d}/zero", 0o600 | stat.S_IFCHR, os.makedev(1, 5)))
    out.append(refused(lambda: os.stat(f"{d}/zero").st_rdev))
    return out + [refused(os.rename, f"{d}/fifo", f"{d}/other"), refused(os.unlink, f"{d}/other"), sorted(os.listdir(d))]


@case
def listing_while_it_changes(d):
    for i in range(500):
        touch(f"{d}/{i}")
    seen = set()
    for entry in os.scandir(d):
        seen.add(entry.name)
        if int(entry.name) % 3 == 0:
            os.unlink(f"{d}/{entry.name}")
    return [len(seen), len(os.listdir(d)), os.stat(d).st_nlink]


@case
def folders_and_their_links(d):
    for n in "abc":
        os.mkdir(f"{d}/{n}")
    out = [os.stat(d).st_nlink - len(os.listdir(d)), os.stat(f"{d}/a").st_nlink]
    os.rmdir(f"{d}/a")
    here = os.open(f"{d}/b", os.O_RDONLY)
    os.rmdir(f"{d}/b")
    out += [refused(lambda: os.listdir(here)), refused(lambda: os.close(os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=here)))]
    os.close(here)
    return out + [sorted(os.listdir(d))]


@case
def attributes(d):
    f = touch(f"{d}/f")
    out = [refused(os.setxattr, f, "user.a", b"1"), refused(os.setxattr, f, "user.a", b"2", os.XATTR_CREATE),
           refused(os.setxattr, f, "user.b", b"2", os.XATTR_REPLACE), refused(os.setxattr, f, "user.a", b"", os.XATTR_REPLACE),
           refused(lambda: os.getxattr(f, "user.a").hex()), refused(lambda: os.getxattr(f, "user.none").hex()), sorted(os.listxattr(f)),
           refused(os.removexattr, f, "user.none"), refused(os.removexattr, f, "user.a"), sorted(os.listxattr(f)),
           refused(os.setxattr, f, "user." + "n" * 251, b"x"), refused(os.setxattr, f, "unknown.x", b"x")]
    return out + [refused(os.setxattr, d, "user.of-folder", b"x" * 100), refused(lambda: len(os.getxattr(d, "user.of-folder")))]


@case
def space_that_is_reserved(d):
    fd = os.open(f"{d}/f", os.O_RDWR | os.O_CREAT)
    out = [refused(os.posix_fallocate, fd, 0, 10_000), os.fstat(fd).st_size, os.pread(fd, 5, 9000).hex()]
    os.pwrite(fd, b"x" * 10_000, 0)
    done = libc.fallocate(fd, PUNCH_HOLE_KEEP_SIZE, ctypes.c_long(4096), ctypes.c_long(4096))
    out += [done if done == 0 else errno.errorcode[ctypes.get_errno()], os.fstat(fd).st_size, os.pread(fd, 2, 0).decode()]
    os.close(fd)
    return out


@case
def temporary_files_without_a_name(d):
    return opened(d, os.O_TMPFILE | os.O_RDWR)


@case
def file_systems_are_told(d):
    s = os.statvfs(d)
    return [s.f_blocks > 0, s.f_bavail > 0, s.f_namemax]


def outcomes(root):
    out = {}
    for name, act in CASES.items():
        folder = os.path.join(root, name)
        os.mkdir(folder)
        out[name] = refused(act, folder)
    return out


@pytest.fixture
def shown():
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory(prefix="cairn-posix.") as name:
        os.chmod(name, 0o755)
        yield pathlib.Path(name)


def test_every_promise_that_gocryptfs_keeps(shown, key):
    plain = shown / "plain"
    plain.mkdir()
    results = {"plain": outcomes(str(plain))}
    for name, program in (("gocryptfs", ["gocryptfs"]), ("ours", OURS)):
        volume, where = shown / f"{name}-v", shown / f"{name}-m"
        volume.mkdir()
        where.mkdir()
        assert run(["gocryptfs"], "-init", "-q", "-scryptn", "10", "-passfile", key, volume) == 0
        assert run(program, "-q", "-allow_other", "-passfile", key, volume, where) == 0
        try:
            results[name] = outcomes(str(where))
        finally:
            unmount(where)
    plain, theirs, ours = (results[n] for n in ("plain", "gocryptfs", "ours"))
    lost = {n: {"plain": plain[n], "ours": ours[n]} for n in CASES if theirs[n] == plain[n] != ours[n]}
    assert lost == {}
    same = [sum(r[n] == plain[n] for n in CASES) for r in (theirs, ours)]
    print(f"{len(CASES)} groups of promises: as a plain folder, gocryptfs {same[0]}, ours {same[1]}; ours differs in "
          f"{[n for n in CASES if ours[n] != plain[n]]}")
    assert same[1] >= same[0]


@pytest.mark.parametrize("seed", [1])
def test_fsx(mount, seed):
    """After fsx: whatever is read, by read or through a mapping, is what was written last."""
    generator, path, right = random.Random(seed), mount / "f", bytearray()
    longest = 300_000
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    kinds = ["read"] * 3 + ["write"] * 4 + ["mapread", "mapwrite", "mapwrite", "truncate", "allocate", "reopen", "append"]
    for step in range(FSX_STEPS):
        kind = generator.choice(kinds)
        at, size = generator.randrange(longest), generator.choice([1, 100, 4096, 5000, generator.randrange(1, 70_000)])
        data = generator.randbytes(size)
        if kind == "append":
            at = len(right)
        if kind in ("write", "append"):
            assert os.pwrite(fd, data, at) == size
            right.extend(bytes(max(0, at + size - len(right))))
            right[at:at + size] = data
        elif kind == "truncate":
            os.ftruncate(fd, at)
            del right[at:]
            right.extend(bytes(at - len(right)))
        elif kind == "allocate":
            os.posix_fallocate(fd, at, size)
            right.extend(bytes(max(0, at + size - len(right))))
        elif kind == "reopen":
            os.close(fd)
            fd = os.open(path, os.O_RDWR)
        elif kind == "read":
            assert os.pread(fd, size, at) == right[at:at + size], (step, at, size)
        elif right:
            at %= len(right)
            with mmap.mmap(fd, len(right)) as view:
                if kind == "mapwrite":
                    size = min(size, len(right) - at)
                    view[at:at + size] = data[:size]
                    right[at:at + size] = data[:size]
                    if generator.random() < 0.5:
                        view.flush()
                else:
                    assert view[at:at + size] == right[at:at + size], (step, at, size)
        assert os.fstat(fd).st_size == len(right), (step, kind)
    os.close(fd)
    assert path.read_bytes() == right
    with Gocryptfs(mount.parent / "v", mount.parent / "other", mount.parent / "key", "-ro") as theirs:
        assert (theirs / "f").read_bytes() == right


if __name__ == "__main__":
    print(json.dumps(outcomes(sys.argv[1]), indent=1))
