#!/usr/bin/python3
"""Counts cases over the outputs of all test steps, so that scripts/test can end with one line.

  tally.py FILE...   FILE.json is a log of `meson test --logbase`, anything else the output of a step.

Last it prints `N passed, N failed, N skipped`, and before that `unsteady: N NAMES`, where there are any: cases
that failed first and passed when they were tried again, alone. They count as neither, and more than
five of them are a failure of the whole.

A step that ends with `N passed, N failed, N skipped` counts its cases; a doctest program counts its
test cases; anything else counts as one."""

import json
import re
import sys

PLAIN = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.M)
UNSTEADY = re.compile(r"^UNSTEADY (.*?): ", re.M)
MOST_UNSTEADY = 5
DOCTEST = re.compile(r"test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed")


def count(text, verdict):
    """(passed, failed, skipped) of one program's output; verdict: PASS, FAIL or SKIP."""
    plain = PLAIN.findall(text)
    doctest = DOCTEST.findall(re.sub(r"\x1b\[[0-9;]*m", "", text))
    if plain:
        counts = [int(number or 0) for number in plain[-1]]
    elif doctest:
        counts = [sum(int(line[1]) for line in doctest), sum(int(line[2]) for line in doctest), 0]
    else:
        counts = [verdict == "PASS", verdict == "FAIL", verdict == "SKIP"]
    if verdict == "FAIL" and not counts[1]:
        counts[1] = 1  # it failed in another way than by a case: crash, time limit
    return counts


def main():
    total = [0, 0, 0]
    unsteady = []
    for path in sys.argv[1:]:
        with open(path, errors="replace") as file:
            text = file.read()
        if path.endswith(".json"):
            results = [json.loads(line) for line in text.splitlines() if line]
            parts = [(result.get("stdout", "") + result.get("stderr", ""),
                      {"OK": "PASS", "EXPECTEDFAIL": "PASS", "SKIP": "SKIP"}.get(result["result"], "FAIL"))
                     for result in results]
        else:
            ended = re.findall(r"^@@status (\d+)$", text, re.M)
            status = ended[-1] if ended else "none"
            parts = [(text, {"0": "PASS", "77": "SKIP"}.get(status, "FAIL"))]
        for output, verdict in parts:
            unsteady += UNSTEADY.findall(output)
            total = [sum(pair) for pair in zip(total, count(output, verdict))]
    if unsteady:
        print(f"unsteady: {len(unsteady)} {', '.join(unsteady)}")
    if len(unsteady) > MOST_UNSTEADY:
        print(f"more than {MOST_UNSTEADY} unsteady cases: that is a failure")
        total[1] += 1
    print(f"{total[0]} passed, {total[1]} failed, {total[2]} skipped")
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
