"""What ./quickstart left, run by ./test as a newcomer would: the release build, from this checkout."""

import json
import os
import pathlib

import pytest

pytestmark = pytest.mark.skipif("CAIRN_QUICKSTART" not in os.environ, reason="./test runs it, with the dev preset")


def test_answers_from_a_release_build():
    folder = pathlib.Path(os.environ["CAIRN_QUICKSTART"])
    log = (folder / "log").read_text()
    assert (folder / "result.json").exists(), log
    result = json.loads((folder / "result.json").read_text())
    assert result["ok"] is True and result["error"] is None, log
    assert "Paris" in result["answer"] and result["answer"] in log
    assert result["verdict"]["status"] == "affirming"
    assert result["model"]["sha256_plain"] == result["model"]["sha256_mounted"]
    assert result["wire"]["plaintext_seen"] is False
    assert "Stopped; nothing is left running or mounted." in log
