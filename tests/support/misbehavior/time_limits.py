"""Plugins that take too long."""

import contextlib
import subprocess
import threading
import time
from typing import Any

from support.misbehavior.case import BadExplainer, BadMetric, Kind, Misbehavior
from support.misbehavior.exceptions import raising, unusual
from xai_core.errors import TimeLimitError


def sleep(*_: Any) -> Any:
    time.sleep(100)


def loop(*_: Any) -> Any:
    while True:
        pass


def ignore_exceptions(*_: Any) -> Any:
    while True:
        with contextlib.suppress(Exception):
            time.sleep(100)


def ignore_once(*_: Any) -> Any:
    try:
        time.sleep(100)
    except:  # noqa: E722
        time.sleep(100)


def wait_for_lock(*_: Any) -> Any:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def wait_for_process(*_: Any) -> Any:
    subprocess.run(["sleep", "100"], check=True)


def _case(plugin: Any, description: str) -> Misbehavior:
    return Misbehavior(plugin, description, TimeLimitError, "took longer than .* s and was interrupted")


TIME_LIMITS = Kind(
    "time-limits",
    "Time limits",
    "Its results. A benchmark also disables it.",
    (
        _case(BadExplainer("time-sleeps", sleep), "It sleeps."),
        _case(BadExplainer("time-loops", loop), "It loops in Python."),
        _case(BadExplainer("time-ignores-exceptions", ignore_exceptions), "It sleeps, and ignores every `Exception`."),
        _case(BadExplainer("time-ignores-once", ignore_once), "It sleeps, and continues once after the interruption."),
        _case(BadExplainer("time-lock", wait_for_lock), "It waits for a lock that nothing releases."),
        _case(BadExplainer("time-process", wait_for_process), "It waits for another process."),
        _case(BadExplainer("time-needs", needs=sleep), "It sleeps in `needs`."),
        _case(BadExplainer("time-passes", forward_passes=sleep), "It sleeps in `forward_passes`."),
        _case(
            BadExplainer("time-message", raising(lambda: unusual(__str__=sleep))),
            "It raises an exception whose message takes too long.",
        ),
        _case(BadMetric("metric-sleeps", sleep), "It is a metric that sleeps."),
        _case(BadMetric("metric-loops", loop), "It is a metric that loops in Python."),
    ),
    time_limit=0.1,
)
