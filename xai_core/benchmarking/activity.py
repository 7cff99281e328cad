"""The current activity of a worker, and the methods and metrics that are disabled because they ended a worker."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Activity:
    """The current activity of a worker: a plugin call, or a step for several methods.

    Attributes
    ----------
    description
        Description in error messages.
    methods
        The methods of the step. Empty for a step of all methods.
    metric
        The metric that is called, or empty.
    seconds
        Time limit in seconds, or None.
    """

    description: str
    methods: tuple[str, ...] = ()
    metric: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Blame:
    """A method, or a metric on the maps of a method, that ended a worker. An empty name stands for all."""

    model_index: int
    method: str
    metric: str
    reason: str
