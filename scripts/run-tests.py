#!/usr/bin/env python3
"""Runs a build folder's tests and ends with the line "N passed, N failed".

Usage: scripts/run-tests.py BUILD [SUITE...]        (no suite: all)

A program of test cases (cmocka, Python's unittest) counts with its cases, any
other as one. YZMA_PROCESSES: so many at once. A run in which nothing passed is a failure: it looked at nothing.
"""
import json
import os
import re
import subprocess
import sys

CASES = (
    re.compile(r"^\[=+\] (\d+) test\(s\) run\.", re.M),  # cmocka
    re.compile(r"^Ran (\d+) tests? in ", re.M),  # unittest
)
FAILED_CASES = (
    re.compile(r"^ (\d+) FAILED TEST\(S\)", re.M),
    re.compile(r"^FAILED \(.*?(?:failures|errors)=(\d+)", re.M),
)


def total(patterns, text):
    return sum(int(n) for pattern in patterns for n in pattern.findall(text))


# What a sanitizer says first of what it found.
FINDINGS = re.compile("(WARNING|ERROR): [A-Za-z]+Sanitizer|runtime error: ")
TOLD_LINES = 40


def excerpt(lines):
    """The last lines, and before them the beginning of what a sanitizer found."""
    found = next((i for i, line in enumerate(lines) if FINDINGS.search(line)), len(lines))
    last = max(len(lines) - TOLD_LINES, 0)
    return lines[found:min(found + TOLD_LINES, last)] + lines[last:]


def tell(build, test, text):
    """Appends an excerpt of a failure to the file that YZMA_FAILURES names, if it does."""
    path = os.environ.get("YZMA_FAILURES")
    if path:
        with open(path, "a", encoding="utf-8") as out:
            out.write(f"-- {build}: {test['name']}: {test['result']} after {test['duration']:.0f} s\n")
            out.writelines(f"   {line[:300]}\n" for line in excerpt(text.splitlines()))


def main():
    build, suites = sys.argv[1], sys.argv[2:]
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    # One more than there are cores: most tests of the binary wait more than they compute.
    processes = os.environ.get("YZMA_PROCESSES") or str((os.cpu_count() or 1) + 1)
    command = ["meson", "test", "-C", build, "--print-errorlogs", "--num-processes", processes]
    for suite in suites:
        command += ["--suite", suite]
    status = subprocess.run(command, stdin=subprocess.DEVNULL).returncode

    passed = failed = skipped = 0
    if os.path.exists(log):
        with open(log, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                test = json.loads(line)
                text = (test.get("stdout") or "") + "\n" + (test.get("stderr") or "")
                cases = total(CASES, text) or 1
                if test["result"] == "OK":
                    passed += cases
                elif test["result"] == "SKIP":
                    skipped += 1
                else:
                    bad = min(total(FAILED_CASES, text) or 1, cases)
                    failed += bad
                    passed += cases - bad
                    tell(build, test, text)
    if status != 0 and failed == 0:
        failed = 1  # the build broke, or the tests could not be run
    if passed == 0 and failed == 0:
        print("No test ran.")
        failed = 1
    if skipped:
        print(f"{skipped} skipped")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


sys.exit(main())
