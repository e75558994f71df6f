"""clang-tidy over the sources of the product, with the checks of .clang-tidy; only beside the build people work with."""

import json
import os
import pathlib
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.skipif(os.environ.get("CAIRN_PRESET", "dev") != "dev", reason="once is enough: with the dev preset")
def test_clang_tidy_finds_nothing(tmp_path):
    # Its own parser is clang's, so the commands must be; sources together as in the build, for the time it takes.
    subprocess.run(["cmake", "--preset", "fuzz", "-B", tmp_path, "-DCMAKE_UNITY_BUILD=ON", "-DCAIRN_FUZZ=OFF",
                    "-DCAIRN_SANITIZE="], cwd=ROOT, check=True, capture_output=True)
    commands = json.loads((tmp_path / "compile_commands.json").read_text())
    files = [c["file"] for c in commands if "/src/" in c["file"] and not any(
        part in c["output"] for part in ("_test.dir", "_fuzz.dir"))]
    assert len(files) > 30

    def check(file):
        done = subprocess.run(["clang-tidy-19", "-p", tmp_path, f"--config-file={ROOT}/.clang-tidy", "--quiet", file],
                              cwd=ROOT, capture_output=True, text=True)
        return "" if done.returncode == 0 else done.stdout

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = "".join(pool.map(check, files))
    assert not wrong, wrong
