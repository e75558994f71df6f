"""Rules of the house that a reader of the tree can check: layers, names that must not appear, sizes."""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Left to right; an area includes itself and areas to its left. Services stand on one step and never include each other.
ORDER = {"base": 0, "crypto": 1, "net": 2, "policy": 2, "evidence": 2, "gocryptfs": 2, "device": 3, "kbs_protocol": 3,
         "trustee": 4, "guest": 4, "cachefs": 4, "tng": 4, "webhook": 4, "chat": 4, "cli": 5}
PURE = {"evidence", "policy", "gocryptfs"}
IMPURE_HEADERS = re.compile(r"<(thread|fstream|filesystem|iostream|sys/socket\.h|unistd\.h|fcntl\.h|boost/asio.*|chrono)>")
# Not part of what a pure area does: its programs for tests and fuzzing.
TEST = re.compile(r"(_test|_fuzz)\.(cc|h)$|/test(ing|_)[^/]*$")


def tracked():
    out = subprocess.run(["git", "-c", "safe.directory=*", "ls-files"], cwd=ROOT, capture_output=True, text=True,
                         check=True).stdout
    return [ROOT / line for line in out.splitlines() if (ROOT / line).is_file()]


def sources():
    return [p for p in tracked() if p.suffix in (".cc", ".h") and p.is_relative_to(ROOT / "src")]


def test_areas_include_only_to_their_left():
    wrong = []
    for path in sources():
        area = path.relative_to(ROOT / "src").parts[0]
        if TEST.search(str(path)):
            continue
        for line in path.read_text().splitlines():
            match = re.match(r'\s*#\s*include "([a-z_]+)/', line)
            if not match or match[1] not in ORDER:
                continue
            other = match[1]
            if other != area and ORDER[other] >= ORDER[area]:
                wrong.append(f"{path.relative_to(ROOT)} includes {other}/")
    assert not wrong, "\n".join(wrong)


def test_pure_areas_do_no_input_or_output():
    wrong = []
    for path in sources():
        if path.relative_to(ROOT / "src").parts[0] not in PURE or TEST.search(str(path)):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.startswith("#include") and IMPURE_HEADERS.search(line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line}")
    assert not wrong, "\n".join(wrong)


def test_nothing_names_this_machine_or_a_registry():
    hosts = ["deb.debian" + ".org", "security.debian" + ".org", "registry.npmjs", "pypi" + ".org", "pythonhosted" + ".org",
             "proxy.golang", "crates" + ".io/"]
    bad = re.compile("|".join(map(re.escape, hosts)) + r"|(^|[^A-Za-z0-9_./-])/(work|farm)/")
    wrong = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if bad.search(line) and path != pathlib.Path(__file__):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    assert not wrong, "\n".join(wrong)


def test_no_file_is_over_one_mebibyte():
    assert [str(p) for p in tracked() if p.stat().st_size > 1 << 20] == []


def test_sizes_have_names():
    """A size of a KiB or more is a named constant, in limits.h or where it is used, never a number in an expression."""
    size = re.compile(r"\b\d+U?L*\s*<<\s*[1-4]0\b|\b\d+\s*\*\s*1024\b")
    wrong = []
    for path in sources():
        if TEST.search(str(path)) or path.name == "limits.h":
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.split("//")[0]
            if size.search(code) and "constexpr" not in code and "std::uint64_t{" not in code:
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def test_sources_are_formatted():
    """Layout and include order are .clang-format's; `clang-format-19 -i FILE` in the root folder puts a file right."""
    files = [str(p) for p in tracked() if p.suffix in (".cc", ".h")]
    out = subprocess.run(["clang-format-19", "--dry-run", "-Werror", "--ferror-limit=1", *files], cwd=ROOT,
                         capture_output=True, text=True)
    assert out.returncode == 0, out.stderr


def test_every_source_has_a_test_beside_it_or_in_its_folder():
    wrong = [str(p.relative_to(ROOT)) for p in sources()
             if p.suffix == ".cc" and not re.search(r"(_test|_fuzz|/main)\.cc$", str(p))
             and not list(p.parent.glob("*_test.cc"))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["README.md", "quickstart", "test", ".ci/run"])
def test_the_front_door_exists(name):
    assert (ROOT / name).exists()
