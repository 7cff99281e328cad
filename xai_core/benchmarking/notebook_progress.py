"""A progress bar in a notebook for each model of a benchmark. It needs no widgets."""

import sys
import time
from html import escape
from importlib import import_module
from typing import Any

from xai_core.benchmarking.shards import ShardFiles
from xai_core.benchmarking.store import Run


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this process. IPython is not imported."""
    ipython = sys.modules.get("IPython")
    return "ipykernel" in sys.modules and ipython is not None and ipython.get_ipython() is not None


class NotebookProgress:
    """Displays the number of finished images, the remaining time, and the notes of the shards."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._models: tuple[str, ...] = ()
        self._images = 0
        self._finished: list[int] = []
        self._resumed = 0
        self._notes: dict[str, None] = {}
        self._start = time.monotonic()

    def __call__(self, run: Run, files: ShardFiles | None) -> None:
        if files is None:
            self._begin(run)
        else:
            self._finished[files.shard.model_index] += files.shard.stop - files.shard.start
            self._notes.update(dict.fromkeys(files.notes))
        self._display()

    def _begin(self, run: Run) -> None:
        self._models, self._images = tuple(model.spec for model in run.manifest.models), run.manifest.images
        self._finished = [self._images] * len(self._models)
        for shard in run.missing:
            self._finished[shard.model_index] -= shard.stop - shard.start
        self._resumed = sum(self._finished)

    def _display(self) -> None:
        bundle = {"text/html": self._html(), "text/plain": self._text()}
        if self._handle is None:
            self._handle = import_module("IPython.display").display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def _html(self) -> str:
        bars = "".join(
            f'<div><progress max="{self._images}" value="{finished}"></progress> {escape(text)}</div>'
            for finished, text in zip(self._finished, self._counts(), strict=True)
        )
        return f"<div>{bars}<div>{'<br>'.join(map(escape, [self._time(), *self._notes]))}</div></div>"

    def _text(self) -> str:
        return "\n".join([*self._counts(), self._time(), *self._notes])

    def _counts(self) -> list[str]:
        counts = zip(self._models, self._finished, strict=True)
        return [f"{model}: {finished} of {self._images} images" for model, finished in counts]

    def _time(self) -> str:
        """Return the elapsed and the estimated remaining time."""
        elapsed = time.monotonic() - self._start
        finished = sum(self._finished) - self._resumed
        remaining = self._images * len(self._models) - sum(self._finished)
        left = f", about {_clock(elapsed / finished * remaining)} left" if finished and remaining else ""
        return f"{_clock(elapsed)} elapsed{left}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
