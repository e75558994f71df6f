"""OPA's own cases, and generated pairs held against OPA itself, where Go can fetch it."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(os.environ.get("CAIRN_BIN", HERE.parents[1] / "build/dev/bin"))


@pytest.mark.skipif(not (BIN / "rego_cases").exists(), reason="rego_cases is not built")
@pytest.mark.parametrize("command", [("run",), ("differential", "--count", "1000")])
def test_agrees_with_opa(command):
    program, *options = command
    done = subprocess.run([sys.executable, HERE / "rego" / program, "--preset", BIN.parent.name, *options],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1500)
    if done.stdout.startswith("SKIP"):
        pytest.skip(done.stdout.strip()[:300])
    assert done.returncode == 0, done.stdout[-6000:]
