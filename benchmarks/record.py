"""Run the benchmarks and write tables of the results. Other arguments are passed to pytest (`-k grad_cam`)."""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"
UNIT = "plain forward pass"
# Overrides `--benchmark-skip` of the project, and shows the warnings of other libraries instead of raising them.
PYTEST = ["pytest", "benchmarks", "-o", "addopts=", "-W", "default", "--benchmark-only", "--benchmark-quiet"]


def run(arguments: list[str]) -> dict[str, Any]:
    """Run the benchmarks, and return the JSON output of pytest-benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        subprocess.run([sys.executable, "-m", *PYTEST, *arguments, f"--benchmark-json={path}"], check=True)
        return json.loads(path.read_text())


def page(measured: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    machine = measured["machine_info"]
    groups: dict[str, dict[str, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(dict))
    for entry in measured["benchmarks"]:
        who, turn = entry["extra_info"]["who"], entry["extra_info"]["turn"]
        groups[entry["group"]][who][turn] = entry["stats"]["data"]
    lines = [
        f"# {machine_name(machine)}, torch {machine['versions']['torch']}",
        "",
        f"Written by `{measured['command']}` on {measured['datetime'][:10]}.",
        f"Python {machine['python_version']}, {', '.join(' '.join(item) for item in machine['versions'].items())}.",
        f"{machine['threads']} threads, timed by {measured['benchmarks'][0]['options']['timer']}.",
        f"The libraries ran in turns. `x {UNIT}` is the median ratio to the {UNIT} of the same turn.",
    ]
    for group, libraries in groups.items():
        lines += ["", f"## {group}", "", f"| who | median, s | min, s | x {UNIT} |", "| --- | ---: | ---: | ---: |"]
        for who, turns in libraries.items():
            times = [time for data in turns.values() for time in data]
            ratio = median(median(data) / median(libraries[UNIT][turn]) for turn, data in turns.items())
            lines.append(f"| {who} | {median(times):.4f} | {min(times):.4f} | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


def machine_name(machine: dict[str, Any]) -> str:
    """Return the name of the GPU, or of the CPU with its number of cores."""
    if machine["device"] != "cpu":
        return str(machine["device"])
    return f"{machine['cpu'].get('brand_raw', machine['machine'])}, {machine['cores']} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--from", dest="json", type=Path, help="JSON output of pytest-benchmark. [default: run the benchmarks]"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="Folder of the results.")
    options, arguments = parser.parse_known_args()
    measured = json.loads(options.json.read_text()) if options.json else run(arguments)
    machine = measured["machine_info"]
    version = machine["versions"]["torch"].partition("+")[0]
    name = re.sub(r"[^a-z0-9]+", "-", machine_name(machine).lower()).strip("-")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{name}-torch{version}.md"
    path.write_text(page(measured))
    print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    main()
