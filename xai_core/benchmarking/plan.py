"""A planned benchmark. All objects are pickled, so the process that supervises the workers runs no code of plugins."""

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.reader import in_one_line
from xai_core.benchmarking.resolve import ResolvedBenchmark
from xai_core.benchmarking.settings import Settings
from xai_core.errors import OptionError


@dataclass(frozen=True)
class Plan:
    """A benchmark that a worker has resolved.

    Attributes
    ----------
    manifest
        The manifest.
    settings
        The pickled `Settings`, with the objects that the user passed.
    resolved
        The pickled `ResolvedBenchmark`. It refers to the objects of the user by their numbers.
    """

    manifest: Manifest
    settings: bytes
    resolved: bytes

    @classmethod
    def of(cls, benchmark: ResolvedBenchmark, settings: Settings, pickled_settings: bytes) -> "Plan":
        """Return the plan of a resolved benchmark.

        Raises
        ------
        OptionError
            If an object cannot be pickled.
        """
        return cls(benchmark.manifest, pickled_settings, pickled(benchmark, _objects(settings)))

    def benchmark(self) -> ResolvedBenchmark:
        """Return the resolved benchmark."""
        benchmark: ResolvedBenchmark = _unpickled(self.resolved, _objects(pickle.loads(self.settings)))
        return benchmark


def _objects(settings: Settings) -> list[object]:
    """Return the models, data, methods and metrics that the user passed as objects."""
    values = (*settings.models, settings.data, *settings.methods, *settings.metrics)
    return [value for value in values if not isinstance(value, str)]


def pickled(value: Any, known: Sequence[object] = ()) -> bytes:
    """Pickle a value, with numbers in place of the objects that are known where it is unpickled.

    Raises
    ------
    OptionError
        If an object cannot be pickled.
    """
    import cloudpickle

    numbers = {id(each): number for number, each in enumerate(known)}

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc] # has no types
        def persistent_id(self, each: object) -> int | None:
            return numbers.get(id(each))

    content = io.BytesIO()
    try:
        Pickler(content).dump(value)
    except Exception as error:
        raise OptionError(
            f"cannot send the models, data, methods or metrics to the worker process ({in_one_line(error)[:200]}); "
            "pass specs, or objects that can be pickled, or use in_process=True with the local backend"
        ) from error
    return content.getvalue()


def _unpickled(content: bytes, known: Sequence[object]) -> Any:
    class Unpickler(pickle.Unpickler):
        def persistent_load(self, number: int) -> object:
            return known[number]

    return Unpickler(io.BytesIO(content)).load()
