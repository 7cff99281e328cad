"""The current activity of a worker, and the causes that are excluded because they ended a worker."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Activity:
    """The current activity of a worker: a plugin call, the reading of an image, or a step for several methods.

    Attributes
    ----------
    description
        Description in error messages.
    methods
        The methods of the step. Empty for a step of all methods.
    metric
        The metric that is called, or empty.
    image
        Index of the image that is read, or None.
    of_model
        Whether no method can be the cause, because the model is loaded, or called without any method.
    seconds
        Time limit in seconds, or None.
    """

    description: str
    methods: tuple[str, ...] = ()
    metric: str = ""
    image: int | None = None
    of_model: bool = False
    seconds: float | None = None


START = Activity("start of the worker")
PLANNING = Activity("planning of the benchmark")
"""The activity between the steps in which a benchmark is planned."""


@dataclass(frozen=True)
class ThreadActivity:
    """The begin or the end of the reading of an image in a thread of the worker."""

    activity: Activity
    ended: bool = False


@dataclass(frozen=True)
class Blame:
    """The cause that ended a worker: an image, a method, a metric on the maps of a method, or the model.

    An empty method stands for all methods of the metric. Without a method, a metric and an image, it is the model.
    """

    model_index: int
    reason: str
    method: str = ""
    metric: str = ""
    image: int | None = None
