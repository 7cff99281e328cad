"""Plugins that end their process, or that no time limit interrupts."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from support import deadly
from support.misbehavior.case import BadExplainer, BadMetric, Kind, Misbehavior
from xai_core.errors import WorkerError

SUPERVISED = "tests/benchmarking/test_misbehavior.py::test_supervised_benchmark"
ENDED = "its process ended with "
KILLED = " did not stop at its time limit of .* s, and its process was killed"


def _close_files() -> None:
    os.closerange(3, 1024)


def _fork() -> None:
    """Let a copy of the process compute the rest, too."""
    os.fork()


def _disable_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    time.sleep(100)


def _start_thread() -> None:
    threading.Thread(target=time.sleep, args=[100]).start()


def _case(name: str, description: str, act: Callable[[], Any], message: str = "") -> Misbehavior:
    plugin = BadExplainer(f"ending-{name}", lambda captured: act())
    if not message:
        return Misbehavior(plugin, description, cost="Nothing.")
    return Misbehavior(plugin, description, WorkerError, message)


ENDINGS = Kind(
    "endings",
    "End of the process",
    "Its results. Without a benchmark, your process ends or hangs.",
    (
        _case("exit", "It calls `os._exit`.", deadly.leave, ENDED + "exit code 7 during ending-exit"),
        _case("crash", "It reads from an invalid address.", deadly.crash, ENDED + "SIGSEGV during ending-crash"),
        _case(
            "memory",
            "It is killed, as if memory ran out.",
            deadly.run_out_of_memory,
            ENDED + "SIGKILL, for example because memory ran out, during ending-memory",
        ),
        _case("files", "It closes all open files.", _close_files, ENDED + "exit code 1 during ending-files"),
        _case("signals", "It waits for a lock, and blocks all signals.", deadly.block, "ending-signals" + KILLED),
        _case("compiled", "It loops in compiled code.", deadly.hold, "ending-compiled" + KILLED),
        _case("timer", "It disables the timer of its time limit, and sleeps.", _disable_timer, "ending-timer" + KILLED),
        _case("fork", "It forks its process, and returns in both.", _fork),
        _case("thread", "It starts a thread that does not end.", _start_thread),
        Misbehavior(
            BadMetric("metric-ends", lambda e, s: deadly.leave()),
            "It is a metric that calls `os._exit`.",
            WorkerError,
            ENDED + "exit code 7 during metric-ends for maps of ",
        ),
    ),
    time_limit=0.2,
    tests=(SUPERVISED,),
)
