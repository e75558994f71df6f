#!/usr/bin/env python3
"""Runs the test suites of one build and counts: see ./test --help."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTEST_SUITES = ("lint", "integration", "interop", "conformance", "e2e", "web")
LIMIT_S = 1800


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def add(self, name, outcome, detail=""):
        if outcome == "passed":
            self.passed += 1
        elif outcome == "skipped":
            self.skipped.append((name, detail))
        else:
            self.failed.append((name, detail))


def run(command, **kwargs):
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=LIMIT_S, **kwargs)


def run_gtest(program, tally):
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        started = time.monotonic()
        try:
            done = run([program, f"--gtest_output=json:{report}", "--gtest_brief=1"])
        except subprocess.TimeoutExpired:
            tally.add(program.name, "failed", f"no end within {LIMIT_S} s")
            return
        seconds = time.monotonic() - started
        if not report.exists():
            tally.add(program.name, "failed", f"exit {done.returncode} without a report\n{done.stdout[-4000:]}")
            return
        failures = 0
        for suite in json.loads(report.read_text())["testsuites"]:
            for case in suite["testsuite"]:
                name = f"{program.name}:{suite['name']}.{case['name']}"
                if case.get("failures"):
                    failures += 1
                    tally.add(name, "failed", "\n".join(f["failure"] for f in case["failures"])[:4000])
                elif case["result"] == "SKIPPED" or case.get("skipped"):
                    reasons = [s.get("message", "") for s in case.get("skipped", [])]
                    tally.add(name, "skipped", " ".join(reasons).strip().splitlines()[-1] if reasons else "")
                else:
                    tally.add(name, "passed")
        if done.returncode != 0 and failures == 0:
            tally.add(program.name, "failed", f"exit {done.returncode}\n{done.stdout[-4000:]}")
        print(f"  {program.name:32} {seconds:6.1f} s", flush=True)


def run_unit(build, tally):
    programs = sorted(p for p in build.rglob("*_test") if p.is_file() and os.access(p, os.X_OK))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda p: run_gtest(p, tally), programs))
    for program in sorted(p for p in build.rglob("*_fuzz") if p.is_file() and os.access(p, os.X_OK)):
        done = run([program, ROOT / "fuzz" / "corpus" / program.name])
        ok = done.returncode == 0
        tally.add(f"corpus:{program.name}", "passed" if ok else "failed", "" if ok else done.stdout[-4000:])


def run_pytest(suite, tally):
    folder = ROOT / "tests" / suite
    if not any(folder.rglob("test_*.py")):
        return
    with tempfile.TemporaryDirectory() as out:
        report = pathlib.Path(out) / "report.xml"
        started = time.monotonic()
        try:
            done = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", folder])
        except subprocess.TimeoutExpired:
            tally.add(suite, "failed", f"no end within {LIMIT_S} s")
            return
        if not report.exists():
            tally.add(suite, "failed", done.stdout[-4000:])
            return
        for case in xml.parse(report).iter("testcase"):
            name = f"{suite}:{case.get('classname')}.{case.get('name')}"
            bad = case.find("failure") if case.find("failure") is not None else case.find("error")
            skip = case.find("skipped")
            if bad is not None:
                tally.add(name, "failed", (bad.get("message") or "") + "\n" + (bad.text or "")[-4000:])
            elif skip is not None:
                tally.add(name, "skipped", skip.get("message") or "")
            else:
                tally.add(name, "passed")
        print(f"  {suite:32} {time.monotonic() - started:6.1f} s", flush=True)


def allowed_skips():
    lines = (ROOT / "tests" / "allowed-skips").read_text().splitlines()
    return [line.split(None, 1)[0] for line in lines if line.strip() and not line.startswith("#")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="dev")
    parser.add_argument("suites", nargs="*", choices=["unit", *PYTEST_SUITES, []])
    arguments = parser.parse_args()
    suites = arguments.suites or ["unit", *PYTEST_SUITES]
    build = ROOT / "build" / arguments.preset
    os.environ["CAIRN_BIN"] = str(build / "bin")
    tally = Tally()
    if "unit" in suites:
        run_unit(build, tally)
    for suite in PYTEST_SUITES:
        if suite in suites:
            run_pytest(suite, tally)
    for name, reason in tally.skipped:
        print(f"SKIPPED {name}: {reason}")
    if os.environ.get("CI") == "true":
        allowed = allowed_skips()
        for name, reason in tally.skipped:
            if not any(a in name for a in allowed):
                tally.failed.append((name, f"skipped in CI: {reason}"))
    for name, detail in tally.failed:
        print(f"FAILED {name}\n{detail}\n")
    print(f"{tally.passed} passed, {len(tally.failed)} failed, {len(tally.skipped)} skipped")
    return 1 if tally.failed or tally.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
