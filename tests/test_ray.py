"""The benchmark on Ray gives the rows of the local one, whoever is killed.

A process on Ray takes ten seconds and more to begin its work, so that it is killed twice here, or as often as
XAI_RAY_KILLS says.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_ray_gives_the_same_rows_after_actors_and_drivers_are_killed(tmp_path: Path) -> None:
    script, kills = Path(__file__).with_name("on_ray.py"), int(os.environ.get("XAI_RAY_KILLS", 2))
    command = [sys.executable, str(script), str(tmp_path), str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {"same": True, "kills": kills, "killed actors": 1}
