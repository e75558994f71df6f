"""clang-tidy over the sources of the product, with the checks of .clang-tidy; only beside the build people work with.
What was found clean is remembered by its preprocessed text, as ccache remembers what was compiled."""

import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLEAN = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "cairn" / "tidy"
KEEP_S = 14 * 24 * 3600


def fingerprint(command, build):
    """Of all that clang-tidy's verdict depends on: its version, the checks, the options and the text with comments."""
    words = shlex.split(command["command"])
    compiler = [w for w in words[: words.index("-o")] + words[words.index("-o") + 2:] if not w.endswith("ccache")]
    text = subprocess.run([*compiler, "-E", "-C"], cwd=command["directory"], check=True, capture_output=True).stdout
    version = subprocess.run(["clang-tidy-19", "--version"], check=True, capture_output=True).stdout
    parts = [version, (ROOT / ".clang-tidy").read_bytes(), shlex.join(compiler).encode(), text]
    places = ((str(build).encode(), b"BUILD"), (str(ROOT).encode(), b"ROOT"))
    for path, name in places:
        parts = [part.replace(path, name) for part in parts]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@pytest.mark.skipif(os.environ.get("CAIRN_PRESET", "dev") != "dev", reason="once is enough: with the dev preset")
def test_clang_tidy_finds_nothing(tmp_path):
    # Its own parser is clang's, so the commands must be; sources together as in the build, for the time it takes.
    subprocess.run(["cmake", "--preset", "fuzz", "-B", tmp_path, "-DCMAKE_UNITY_BUILD=ON", "-DCAIRN_FUZZ=OFF",
                    "-DCAIRN_SANITIZE="], cwd=ROOT, check=True, capture_output=True)
    commands = json.loads((tmp_path / "compile_commands.json").read_text())
    units = [c for c in commands if "/src/" in c["file"] and not any(
        part in c["output"] for part in ("_test.dir", "_fuzz.dir"))]
    assert len(units) > 30
    CLEAN.mkdir(parents=True, exist_ok=True)
    for old in CLEAN.iterdir():
        if old.stat().st_mtime < time.time() - KEEP_S:
            old.unlink(missing_ok=True)

    def check(unit):
        known = CLEAN / fingerprint(unit, tmp_path)
        if known.exists():
            known.touch()
            return ""
        done = subprocess.run(["clang-tidy-19", "-p", tmp_path, f"--config-file={ROOT}/.clang-tidy", "--quiet", unit["file"]],
                              cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            known.touch()
        return "" if done.returncode == 0 else done.stdout

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = "".join(pool.map(check, units))
    assert not wrong, wrong
