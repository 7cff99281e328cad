"""Lists the test functions that a quick run leaves out: those that take longest, from the times of a whole run.

Usage::

    uv run pytest -n auto -m '' --junit-xml=times.xml
    uv run python tests/support/list_slow_tests.py times.xml
"""

import argparse
import xml.etree.ElementTree as ET
from collections import defaultdict
from pathlib import Path

LIST = Path(__file__).with_name("slow_tests.txt")
MARKED = ("test_promises.py", "test_conformance.py", "test_photos.py", "test_shapes_models.py")
"""Files that mark slow tests themselves, so that a quick run includes every promise and loads every file of data."""


def mean_times(report: Path) -> dict[str, float]:
    """Return the mean time of each test function in a JUnit report, in seconds."""
    times: dict[str, list[float]] = defaultdict(list)
    for case in ET.parse(report).iter("testcase"):
        path = case.attrib["classname"].replace(".", "/") + ".py"
        times[f"{path}::{case.attrib['name'].partition('[')[0]}"].append(float(case.attrib["time"]))
    return {test: sum(each) / len(each) for test, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="A JUnit report of pytest.")
    parser.add_argument("--limit", type=float, default=0.07, help="Mean time in seconds above which a test is slow.")
    options = parser.parse_args()
    times = mean_times(options.report)
    slow = sorted(
        test for test, time in times.items() if time > options.limit and not test.partition("::")[0].endswith(MARKED)
    )
    LIST.write_text("".join(f"{test}\n" for test in slow))
    print(f"{len(slow)} of {len(times)} test functions are slow")


if __name__ == "__main__":
    main()
