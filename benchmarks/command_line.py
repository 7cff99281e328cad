"""Start-up time of the command line, compared with `import torch`: prints a table and exits with 1 above a limit.

Each command runs in a new process with compiled bytecode. The commands take turns, so that noise affects all of them.
`xai --version` and each `--help` page may take 0.5 s of processor time. `xai list` may take 1.5 times `import torch`.
On a machine without other load, the processor time of a page is also its wall-clock time.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer

from xai_core.cli import app

XAI = str(Path(sys.executable).with_name("xai"))
TORCH, LIST = "import torch", "xai list"
MAX_SECONDS = 0.5
MAX_RATIO = 1.5
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def help_pages() -> list[str]:
    """Return the words of every command and group, such as `plugin new`."""
    groups = [("", typer.main.get_command(app))]
    pages = []
    while groups:
        words, group = groups.pop()
        pages.append(words)
        groups += [(f"{words} {name}".strip(), command) for name, command in getattr(group, "commands", {}).items()]
    return sorted(pages)


def processor_time() -> float:
    """Return the processor time of all finished child processes, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(commands: Mapping[str, Sequence[str]], turns: int) -> dict[str, tuple[float, float]]:
    """Return the median processor time and wall-clock time of each command, after one turn that writes the bytecode."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(turns + 1):
        for name, command in commands.items():
            start = processor_time(), time.perf_counter()
            subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
            if turn:
                times[name].append((processor_time() - start[0], time.perf_counter() - start[1]))
    return {
        name: (statistics.median(processor for processor, _ in each), statistics.median(wall for _, wall in each))
        for name, each in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    light = {"xai --version": [XAI, "--version"]}
    light |= {" ".join(["xai", *page.split(), "--help"]): [XAI, *page.split(), "--help"] for page in help_pages()}
    heavy = {TORCH: [sys.executable, "-c", "import torch"], LIST: [XAI, "list"]}
    measured = measure(light | heavy, turns)
    print(f"median of {turns} turns\n\n| command | processor, s | wall clock, s | processor, x {TORCH} |")
    print("| --- | ---: | ---: | ---: |")
    for name, (processor, wall) in measured.items():
        print(f"| `{name}` | {processor:.2f} | {wall:.2f} | {processor / measured[TORCH][0]:.2f} |")
    slow = [name for name in light if measured[name][0] > MAX_SECONDS]
    slow += [LIST] if measured[LIST][0] > MAX_RATIO * measured[TORCH][0] else []
    sys.exit(f"above the limit: {', '.join(slow)}" if slow else 0)


if __name__ == "__main__":
    main()
