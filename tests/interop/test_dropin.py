"""The command lines of gocryptfs, given to gocryptfs and to ours: the same exit codes, volumes that both open."""

import os
import pathlib
import shutil
import subprocess
import time

import pytest

BIN = pathlib.Path(os.environ.get("CAIRN_BIN", pathlib.Path(__file__).resolve().parents[2] / "build/dev/bin"))
THEIRS, OURS = ["gocryptfs"], [str(BIN / "cairn-cachefs"), "gocryptfs"]

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not shutil.which("gocryptfs"),
                                reason="needs root, /dev/fuse and gocryptfs")


def run(program, *words, given=b""):
    # Files, not pipes: gocryptfs' daemon keeps the descriptors it was given.
    return subprocess.run(program + [str(w) for w in words], input=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          timeout=60).returncode


@pytest.fixture(params=["theirs", "ours"])
def maker(request):
    return THEIRS if request.param == "theirs" else OURS


@pytest.fixture
def volume(tmp_path, maker):
    (tmp_path / "v").mkdir()
    (tmp_path / "key").write_text("pw\n")
    assert run(maker, "-init", "-q", "-scryptn", "10", "-passfile", tmp_path / "key", tmp_path / "v") == 0
    return tmp_path / "v"


def unmount(where):
    for _ in range(100):
        if subprocess.run(["umount", where], capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    raise AssertionError("stays busy")


@pytest.mark.parametrize("words", [[], ["-xchacha"], ["-aessiv"], ["-plaintextnames"], ["-deterministic-names"], ["-longnamemax", "80"]],
                         ids=lambda w: "".join(w) or "default")
def test_init_of_ours_is_used_by_theirs(tmp_path, words):
    (tmp_path / "v").mkdir()
    (tmp_path / "m").mkdir()
    (tmp_path / "key").write_text("pw")
    assert run(OURS, "-init", "-q", "-scryptn", "10", *words, "-passfile", tmp_path / "key", tmp_path / "v") == 0
    assert run(THEIRS, "-q", "-nosyslog", "-passfile", tmp_path / "key", tmp_path / "v", tmp_path / "m") == 0
    (tmp_path / "m" / ("n" * 200)).write_text("content")
    unmount(tmp_path / "m")
    assert run(OURS, "-q", "-ro", "-passfile", tmp_path / "key", tmp_path / "v", tmp_path / "m") == 0
    assert (tmp_path / "m" / ("n" * 200)).read_text() == "content"
    assert any(" fuse.gocryptfs " in line and str(tmp_path / "m") in line for line in open("/proc/self/mountinfo"))
    unmount(tmp_path / "m")
    assert run(THEIRS, "-fsck", "-q", "-passfile", tmp_path / "key", tmp_path / "v") == 0
    assert run(OURS, "-fsck", "-q", "-passfile", tmp_path / "key", tmp_path / "v") == 0


def test_password_rules_and_exit_codes(tmp_path, volume):
    (tmp_path / "m").mkdir()
    for name, text in {"two": b"pw\nrest", "bare": b"pw", "cr": b"pw\r\n", "blank": b"pw ", "empty": b"", "newline": b"\npw",
                       "long": b"x" * 2049, "wrong": b"no\n"}.items():
        (tmp_path / name).write_bytes(text)
    lines = [["-fsck", "-q", "-passfile", tmp_path / n, volume] for n in ("two", "bare", "cr", "blank", "empty", "newline", "long", "wrong", "absent")]
    lines += [["-info", volume], ["-info", tmp_path / "m"], ["-fsck", "-q", "-passfile", tmp_path / "bare", tmp_path / "m"],
              ["-init", "-q", "-passfile", tmp_path / "bare", volume], ["-init", "-q", "-passfile", tmp_path / "bare", tmp_path / "absent"],
              ["-q", "-passfile", tmp_path / "bare", volume, tmp_path / "absent"], ["-q", "-passfile", tmp_path / "bare", volume, volume],
              ["-q", "-extpass", "false", volume, tmp_path / "m"], ["-q", volume], ["-nonsense", volume], [],
              ["-q", "-masterkey", "00", volume, tmp_path / "m"]]
    for words in lines:
        assert run(OURS, *words) == run(THEIRS, *words), words


def test_passwords_from_standard_input(tmp_path, volume, maker):
    other = OURS if maker == THEIRS else THEIRS
    assert run(maker, "-passwd", "-q", "-scryptn", "10", volume, given=b"pw\nnew\n") == 0
    assert run(other, "-fsck", "-q", volume, given=b"pw\n") == 12
    assert run(other, "-fsck", "-q", volume, given=b"new") == 0


def test_the_caller_is_not_kept_waiting(tmp_path, volume):
    (tmp_path / "m").mkdir()
    done = subprocess.run(OURS + ["-ro", "-passfile", str(tmp_path / "key"), str(volume), str(tmp_path / "m")], capture_output=True, timeout=20)
    assert done.returncode == 0
    unmount(tmp_path / "m")
