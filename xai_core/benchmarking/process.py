"""Processes that can be killed: a fork server, which has imported PyTorch and the engine, and its workers."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from xai_core.benchmarking.activity import START, Activity, ThreadActivity
from xai_core.benchmarking.orders import FORK, NUMBER, RUNNING, STATUS, Answer, Failure, Order, Reply

GRACE = 10.0
"""Seconds by which a call may exceed its time limit before its process is killed."""
POLL = 1.0
"""Seconds between checks whether a process still runs."""


@dataclass(eq=False)
class WorkerEndedError(Exception):
    """The worker ended, or was killed because it did not respond.

    Attributes
    ----------
    activity
        The last activity of the worker.
    reason
        The exit code or signal, and the activity.
    certain
        Whether the activity is the cause: it did not stop at its time limit, and no thread was reading an image.
    """

    activity: Activity
    reason: str
    certain: bool = False


class WorkerTraceback(Exception):  # noqa: N818 # not an error
    """The traceback of an exception in a worker, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class ForkServer:
    """The process from which workers are forked. It starts at once, and imports in the meantime."""

    def __init__(self) -> None:
        self._control, control = socket.socketpair()
        life, self._life = os.pipe()
        options = [f"-W{option}" for option in sys.warnoptions]
        module = "xai_core.benchmarking.worker_process"
        self._process = subprocess.Popen(
            [sys.executable, *options, "-m", module, str(control.fileno()), str(life)],
            pass_fds=[control.fileno(), life],
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        control.close()
        os.close(life)

    def fork(self) -> "Process":
        """Return a new worker process.

        Raises
        ------
        WorkerEndedError
            If the fork server has ended.
        """
        (orders, own_orders), (own_replies, replies) = os.pipe(), os.pipe()
        pipes = Connection(own_orders, readable=False), Connection(own_replies, writable=False)
        try:
            number = self._ask(FORK, orders, replies)
        except OSError:
            for pipe in pipes:
                pipe.close()
            reason = f"the process that starts workers ended with {_described(self._process.wait())}"
            raise WorkerEndedError(START, reason) from None
        finally:
            os.close(orders)
            os.close(replies)
        return Process(self, number, *pipes)

    def exit_code(self, process: int) -> int | None:
        """Return the exit code of a worker, negative for a signal, or None if it runs.

        A worker ends when the fork server ends.
        """
        try:
            code = self._ask(STATUS + NUMBER.pack(process))
        except OSError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            return -signal.SIGKILL
        return None if code == RUNNING else code

    @property
    def ended(self) -> bool:
        """Return whether the fork server has ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the fork server, all workers, and all processes that they started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._control.close()
        os.close(self._life)

    def _ask(self, request: bytes, *pipes: int) -> int:
        self._control.sendall(request)
        if pipes:
            socket.send_fds(self._control, [b" "], pipes)
        answer = self._control.recv(NUMBER.size, socket.MSG_WAITALL)
        if len(answer) < NUMBER.size:
            raise BrokenPipeError
        (number,) = NUMBER.unpack(answer)
        return int(number)


def _described(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class Process:
    """A worker process and its current activity."""

    def __init__(self, server: ForkServer, number: int, orders: Connection, replies: Connection) -> None:
        self._server, self._number, self._orders, self._replies = server, number, orders, replies
        self._activity, self._since = START, time.monotonic()
        self._reads: dict[int | None, tuple[Activity, float]] = {}
        self._code: int | None = None

    def send(self, order: Order) -> None:
        """Send an order.

        Raises
        ------
        WorkerEndedError
            If the process has ended.
        """
        try:
            self._orders.send(order)
        except OSError:
            raise self._ended() from None

    def ask(self, order: Order) -> Answer:
        """Send an order, and return the answer. An exception of the worker is raised here.

        Raises
        ------
        WorkerEndedError
            If the process ends, or does not respond to a time limit.
        """
        self.send(order)
        while True:
            reply = self._reply()
            if isinstance(reply, Activity | ThreadActivity):
                self._note(reply)
            elif isinstance(reply, Failure):
                raise reply.error from WorkerTraceback(reply.traceback)
            else:
                return reply

    def kill(self) -> None:
        """End the process."""
        if self._exit_code() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._number, signal.SIGKILL)
            self._wait()
        self._orders.close()
        self._replies.close()

    def _reply(self) -> Reply:
        while not self._replies.poll(POLL):
            self._require_in_time()
            if self._exit_code() is not None and not self._replies.poll(0):
                raise self._ended()
        try:
            reply: Reply = self._replies.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        return reply

    def _note(self, message: Activity | ThreadActivity) -> None:
        if isinstance(message, Activity):
            self._activity, self._since = message, time.monotonic()
        elif message.ended:
            del self._reads[message.activity.image]
        else:
            self._reads[message.activity.image] = message.activity, time.monotonic()

    def _require_in_time(self) -> None:
        for activity, since in [(self._activity, self._since), *self._reads.values()]:
            limit = activity.seconds
            if limit is not None and time.monotonic() - since > limit + GRACE:
                description = f"{activity.description} did not stop at its time limit of {limit:g} s"
                reason = f"{description}, and its process was killed"
                raise WorkerEndedError(self._activity, reason, certain=not self._reads)

    def _exit_code(self) -> int | None:
        if self._code is None:
            self._code = self._server.exit_code(self._number)
        return self._code

    def _wait(self) -> int:
        while (code := self._exit_code()) is None:
            time.sleep(0.001)
        return code

    def _ended(self) -> WorkerEndedError:
        code = self._wait()
        cause = ", for example because memory ran out," if code == -signal.SIGKILL else ""
        reason = f"its process ended with {_described(code)}{cause} during {self._activity.description}"
        return WorkerEndedError(self._activity, reason)
