"""Distinguishes Ctrl-C from a `KeyboardInterrupt` that a plugin raises itself."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupts:
    """Notes whether Ctrl-C arrives in a block.

    Attributes
    ----------
    arrived
        Whether the handler of SIGINT raised `KeyboardInterrupt`.
    """

    def __init__(self) -> None:
        self.arrived = False

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Note Ctrl-C in this block. Only the main thread receives it."""
        handler = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(handler):
            yield
            return

        def note(number: int, frame: FrameType | None) -> None:
            try:
                handler(number, frame)
            except KeyboardInterrupt:
                self.arrived = True
                raise

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            if signal.getsignal(signal.SIGINT) is note:
                signal.signal(signal.SIGINT, handler)
