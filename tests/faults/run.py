"""Plants faults in a copy of the repository, one at a time, and reports whether the tests catch each of them.

Usage::

    uv run python tests/faults/run.py                      # every fault in faults.toml
    uv run python tests/faults/run.py bonferroni-for-holm   # some faults, by name
    uv run python tests/faults/run.py --without-faults     # the same tests on the unchanged code: all must pass

The exit code is 1 if a fault survives, or if the tests fail on the unchanged code.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("faults.toml")
TIME_LIMIT = 900
"""Seconds after which a run of tests is stopped. A fault that makes the tests hang counts as caught."""
OUTCOMES = {0: "survived", 1: "caught", 124: "caught"}
"""What pytest's exit codes mean, and that of `run_tests` for the time limit. The others are errors of the list."""


@dataclass(frozen=True)
class Fault:
    """A change of one line, and the tests that are expected to fail with it.

    Attributes
    ----------
    name
        A unique name.
    file
        The source file, relative to the repository.
    original
        Text that occurs exactly once in the file, within one line.
    faulty
        Its replacement.
    tests
        Test files or pytest node ids.
    """

    name: str
    file: str
    original: str
    faulty: str
    tests: tuple[str, ...]

    def planted(self, source: str) -> str:
        """Return the source with the fault.

        Raises
        ------
        ValueError
            If the original text does not occur exactly once.
        """
        count = source.count(self.original)
        if count != 1:
            raise ValueError(f"{self.name}: expected {self.original!r} once in {self.file}, found it {count} times")
        return source.replace(self.original, self.faulty)


def read_faults() -> list[Fault]:
    """Return all faults of the list."""
    entries = tomllib.loads(LIST.read_text("utf-8"))["fault"]
    return [Fault(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


@contextmanager
def copied_repository() -> Iterator[Path]:
    """Copy the files of the repository to a temporary folder, without those that git ignores."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        for name in filter(None, names):
            if (ROOT / name).is_file():
                copy = Path(folder, name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy)
        yield Path(folder)


def run_tests(repository: Path, tests: Iterable[str], options: Sequence[str] = ("-x", "-q")) -> tuple[int, str]:
    """Run tests on a copy of the repository; return pytest's exit code (124 after the time limit) and its output."""
    packages = [repository, *sorted((repository / "plugins").iterdir())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, packages))}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "-m", "", *options, *tests]
    try:
        done = subprocess.run(
            command, cwd=repository, env=environment, capture_output=True, text=True, timeout=TIME_LIMIT
        )
    except subprocess.TimeoutExpired:
        return 124, f"stopped after {TIME_LIMIT} s"
    return done.returncode, done.stdout + done.stderr


def outcome_of(fault: Fault) -> str:
    """Plant a fault and run its tests; return `survived`, `caught` or `error`, with the output for errors."""
    with copied_repository() as repository:
        file = repository / fault.file
        file.write_text(fault.planted(file.read_text("utf-8")), "utf-8")
        code, output = run_tests(repository, fault.tests)
    return OUTCOMES.get(code, f"error\n{output}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="faults to plant (default: all)")
    parser.add_argument("--without-faults", action="store_true", help="run the tests on the unchanged code instead")
    options = parser.parse_args(arguments)
    faults = {fault.name: fault for fault in read_faults()}
    if unknown := set(options.names) - faults.keys():
        parser.error(f"unknown faults: {', '.join(sorted(unknown))}")
    chosen = [faults[name] for name in options.names or faults]
    if options.without_faults:
        with copied_repository() as repository:
            code, output = run_tests(
                repository, dict.fromkeys(test for fault in chosen for test in fault.tests), ["-q"]
            )
        print(output)
        return int(code != 0)
    outcomes = {}
    for fault in chosen:
        start = time.monotonic()
        outcomes[fault.name] = outcome_of(fault)
        print(f"{time.monotonic() - start:6.0f} s  {fault.name}: {outcomes[fault.name]}", flush=True)
    caught = sum(outcome == "caught" for outcome in outcomes.values())
    print(f"{caught} of {len(outcomes)} faults caught")
    return int(caught < len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
