"""What a worker does at the moment, and which method or metric is disabled because it ended its worker."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Activity:
    """What a worker does: a plugin call, or a step for several methods.

    Attributes
    ----------
    description
        Description in error messages.
    methods
        The methods that it is for. Empty if it is for all.
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
    """A method, or a metric on the maps of a method, that ended a worker. An empty method stands for all."""

    model_index: int
    method: str
    metric: str
    reason: str
