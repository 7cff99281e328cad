"""Packages of the catalogue that cannot be loaded are listed with their reasons, and change no results."""

import re
from pathlib import Path
from typing import Any

from support.misbehavior import DISCOVERY
from support.paths import ROOT
from support.plugin_environment import Environment

RESULTS = """
import sys
sys.path.append({tests!r})
from pathlib import Path
from support.benchmark_runs import Speckles, run
from support.models import made, three_images
from xai_core.plugins.registry import registry
images, methods, metrics = three_images(), ["grad-cam", "rise:masks=4"], ["deletion:steps=2"]
engine = xai.Engine(made("cnn"))
maps = engine.explain(images, methods)
scores = engine.evaluate(images, maps, metrics)
rows = run(Path({out!r}), Speckles(2), made("cnn"), methods=methods, metrics=metrics)
values = [[maps[name].raw.tolist(), scores[name][metrics[0]].values.tolist()] for name in methods]
broken = {{plugin.distribution: plugin.broken for plugin in registry().plugins if plugin.broken}}
print(json.dumps([broken, values, [[row.score, row.error] for row in rows], xai.list_explainers()]))
"""


def results(environment: Environment, out: Path, chosen: str = "") -> Any:
    code = RESULTS.format(tests=str(ROOT / "tests"), out=str(out))
    return environment.run(code, chosen)


def test_packages(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    for case in DISCOVERY.cases:
        environment.install(case.name, case.plugin, "0.9")
    broken, *found = results(environment, tmp_path / "run")
    healthy, *undisturbed = results(Environment(tmp_path / "empty"), tmp_path / "undisturbed")
    assert healthy == {}
    assert broken.keys() == {case.name for case in DISCOVERY.cases}
    assert [case.name for case in DISCOVERY.cases if not re.search(case.message, broken[case.name])] == []
    assert found == undisturbed
