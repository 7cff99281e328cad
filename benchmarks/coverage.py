"""Read models of several libraries without naming a layer, and compare what is read with oracles.

Every model has random weights. A failure or an endless model costs its own row only. The results are kept in a
file, so that a run examines only models without a result. `--again` repeats it.

    PYTHONPATH=tests uv run python benchmarks/coverage.py --write-docs
"""

import argparse
import fnmatch
import gc
import json
import multiprocessing
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from coverage_page import page

from support.coverage.case import Case
from support.coverage.examine import Row, examine
from support.coverage.libraries import MODULES, all_cases

ROWS = Path(__file__).parent / "results" / "coverage.jsonl"
PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"
COMMAND = "PYTHONPATH=tests uv run python benchmarks/coverage.py --write-docs"


def examine_all(cases: Sequence[Case], time_limit: float) -> Iterator[Row]:
    """Examine models in another process, which is replaced if a model ends it or takes too long."""
    context = multiprocessing.get_context("fork")
    rest = [*cases]
    while rest:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(rest, sender))
        process.start()
        sender.close()
        try:
            while rest and receiver.poll(time_limit):
                yield receiver.recv()
                rest.pop(0)
            reason = f"not done after {time_limit:.0f} s"
        except EOFError:
            reason = "the process died"
        process.kill()
        process.join()
        if rest:
            case = rest.pop(0)
            yield Row(case.library, case.family, case.name, outcome="error", reason=reason)


def work(cases: Sequence[Case], sender: Connection) -> None:
    for case in cases:
        start = time.monotonic()
        row = examine(case)
        row.seconds = round(time.monotonic() - start, 1)
        sender.send(row)
        gc.collect()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", nargs="+", choices=MODULES, default=[*MODULES], help="Examine these only.")
    parser.add_argument("--only", default="*", help="Shell pattern of library:family:model.")
    parser.add_argument("--limit", type=int, help="Maximum number of models to examine.")
    parser.add_argument("--sample", type=int, help="Examine a random sample of this size.")
    parser.add_argument("--again", action="store_true", help="Also examine models that have a result.")
    parser.add_argument("--time-limit", type=float, default=300, help="Seconds per model.")
    parser.add_argument("--rows", type=Path, default=ROWS, help="File of the results, a line of JSON for each model.")
    parser.add_argument("--write-docs", action="store_true", help="Write all results to docs/coverage.md.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = {row.key: row for row in map(read_row, options.rows.open())} if options.rows.exists() else {}
    done = set() if options.again else rows.keys()
    cases = [case for library in options.library for case in all_cases(library) if case.key not in done]
    cases = [case for case in cases if fnmatch.fnmatch(case.key, options.only)]
    if options.sample:
        cases = random.Random(0).sample(cases, min(options.sample, len(cases)))
    for row in examine_all(cases[: options.limit], options.time_limit):
        rows[row.key] = row
        with options.rows.open("a") as file:
            file.write(line_of(row))
        grid = "x".join(map(str, row.grid))
        print(f"{row.outcome:9} {row.key} {row.layer!r} {grid} {row.seconds} s {row.reason}", flush=True)
    options.rows.write_text("".join(line_of(rows[key]) for key in sorted(rows)))
    if options.write_docs:
        every = [case for library in MODULES for case in all_cases(library)]
        missing = [
            Row(case.library, case.family, case.name, outcome="not examined") for case in every if case.key not in rows
        ]
        PAGE.write_text(page([*rows.values(), *missing], COMMAND))


def line_of(row: Row) -> str:
    return json.dumps(asdict(row)) + "\n"


def read_row(line: str) -> Row:
    return Row(**json.loads(line))


if __name__ == "__main__":
    main()
