"""Processes without anything of ours that need not wait for PyTorch: they are forked from one that has imported it."""

import contextlib
import io
import multiprocessing
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["torch"])


def printed(code: str, *path: str) -> str:
    """What code prints in a process of its own, where Python looks for modules in these folders first."""
    here, there = _forks.Pipe(duplex=False)
    process = _forks.Process(target=_run, args=(code, path, there))
    process.start()
    there.close()
    out, error = here.recv()
    process.join()
    assert not error, error
    return out


def started(function: Callable[..., Any], *args: Any) -> BaseProcess:
    """A process that calls a function of a module."""
    process = _forks.Process(target=function, args=args)
    process.start()
    return process


def _run(code: str, path: tuple[str, ...], answer: Connection) -> None:
    sys.path[:0] = path
    out, error = io.StringIO(), ""
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(code, "<fresh>", "exec"), {"__name__": "__main__"})
        except BaseException:
            error = traceback.format_exc()
    answer.send((out.getvalue(), error))
