"""Every program answers --help and --version, refuses what it does not know, and its page in docs/ names each option."""

import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("CAIRN_BIN", ROOT / "build" / "dev" / "bin"))
PROGRAMS = sorted(p.name for p in BIN.iterdir() if p.is_file() and os.access(p, os.X_OK) and p.name.startswith("cairn"))
# Options every page may leave unsaid.
COMMON = {"--help", "--version"}


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


def test_the_programs_are_there():
    assert {"cairn", "cairn-trustee", "cairn-aa", "cairn-cdh", "cairn-cachefs", "cairn-tng"} <= set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_and_version(name):
    done = run(BIN / name, "--help")
    assert done.returncode == 0 and len(done.stdout) > 100
    done = run(BIN / name, "--version")
    assert done.returncode == 0 and re.search(r"\d+\.\d+\.\d+", done.stdout)
    done = run(BIN / name, "--no-such-option-as-this")
    assert done.returncode not in (0, 127) and done.stderr


def options_of(name, *command):
    """Long options of a command and of its subcommands."""
    done = run(BIN / name, *command, "--help")
    found = set(re.findall(r"(?<![\w-])(--[a-z][a-z0-9-]+)", done.stdout))
    section = re.search(r"(?ims)^(?:sub)?commands:\s*\n(.*)", done.stdout)
    if section and len(command) < 2:
        for sub in re.findall(r"(?m)^  ([a-z][a-z-]+)\s", section[1]):
            if sub not in command:
                found |= options_of(name, *command, sub)
    return found


@pytest.mark.parametrize("name", [p for p in PROGRAMS if p != "cairn"])
def test_the_page_names_every_option(name):
    page = (ROOT / "docs" / f"{name}.md").read_text()
    missing = sorted(o for o in options_of(name) - COMMON if o not in page)
    assert missing == []


@pytest.mark.parametrize("verb", ["up"])
def test_the_page_of_a_verb_names_every_option(verb):
    page = (ROOT / "docs" / f"cairn-{verb}.md").read_text()
    missing = sorted(o for o in options_of("cairn", verb) - COMMON if o not in page)
    assert missing == []
