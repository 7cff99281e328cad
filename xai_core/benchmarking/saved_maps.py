"""The maps that a run saved."""

from typing import Any

import numpy as np

from xai_core.benchmarking.rows import readable
from xai_core.benchmarking.shards import MAPS
from xai_core.benchmarking.store import Run


def saved_maps(run: Run, model: str, index: int) -> dict[str, np.ndarray[Any, np.dtype[np.float16]]]:
    """Return the saved maps [H,W] of an image by method. The result is empty if the run does not save maps.

    Raises
    ------
    FileError
        If the file is damaged.
    """
    for shard in run.finished:
        path = run.path / shard.file(MAPS)
        covers = run.manifest.models[shard.model_index].spec == model and shard.start <= index < shard.stop
        if covers and path.exists():
            with readable(path), np.load(path, allow_pickle=False) as maps:
                prefix = f"{index}:"
                return {name.removeprefix(prefix): maps[name] for name in maps.files if name.startswith(prefix)}
    return {}
