"""The process of a worker. It runs the shards that a supervisor sends, and reports every activity before it begins.

Worker processes are forks of a fork server, which has imported PyTorch and the engine, so that a replacement begins at
once. The fork server runs as `python -m xai_core.benchmarking.worker_process CONTROL LIFE`, with the numbers of two
open file descriptors. The first is a socket, through which the supervisor requests forks. The second is a pipe that
closes when the supervisor ends.
"""

import gc
import os
import pickle
import socket
import sys
import threading
import traceback
from multiprocessing.connection import Connection

from xai_core.benchmarking.orders import FORK, NUMBER, RUNNING, Begin, Failure, Order, Reply, Resolve
from xai_core.benchmarking.planning import plan
from xai_core.benchmarking.reader import in_one_line
from xai_core.benchmarking.worker import Worker
from xai_core.errors import XAIError
from xai_core.isolation.error_context import without_call


def serve(orders: Connection, replies: Connection) -> None:
    """Plan a benchmark and run the shards that the supervisor requests, until it closes the pipe."""
    worker: Worker | None = None
    lock, process = threading.Lock(), os.getpid()

    def reply(message: Reply) -> None:
        if os.getpid() != process:  # a plugin called `os.fork`
            os._exit(1)
        with lock:
            replies.send(message)

    while True:
        try:
            order: Order = orders.recv()
        except EOFError:
            return
        try:
            if isinstance(order, Begin | Resolve):
                sys.path[:] = order.path
                order.torch_settings.apply()
            if isinstance(order, Resolve):
                benchmark, resolved = plan(order, reply)
                worker = Worker(benchmark, (), reply)
                reply(resolved)
            elif isinstance(order, Begin):
                worker = Worker(order.plan.benchmark(), order.blames, reply)
            else:
                assert worker is not None
                reply(worker.run(order.shard, order.following, order.alone, order.in_threads))
        except Exception as error:
            reply(Failure(_sendable(error), "".join(traceback.format_exception(error))))


def _sendable(error: Exception) -> Exception:
    """Return the error without its plugin call, or an error with the same text if it cannot be pickled."""
    text = in_one_line(error)
    try:
        pickle.loads(pickle.dumps(without_call(error)))
    except Exception:
        return XAIError(text)
    return error


def fork_workers(control: socket.socket) -> None:
    """Fork workers and report their exit codes until the supervisor closes the socket."""
    while request := control.recv(1):
        if request == FORK:
            _, pipes, _, _ = socket.recv_fds(control, 1, 2)
            process = os.fork()
            if not process:
                control.close()
                serve(Connection(pipes[0], writable=False), Connection(pipes[1], readable=False))
                os._exit(0)
            for pipe in pipes:
                os.close(pipe)
            control.sendall(NUMBER.pack(process))
        else:
            (process,) = NUMBER.unpack(control.recv(NUMBER.size, socket.MSG_WAITALL))
            ended, status = os.waitpid(process, os.WNOHANG)
            control.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status) if ended else RUNNING))


def _end_with(pipe: int) -> None:
    """Let the system kill this process and its forks as soon as the other end of a pipe closes."""
    import fcntl
    import signal

    fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpgrp())
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def main() -> None:
    """Serve the supervisor that started this process."""
    control, life = map(int, sys.argv[1:])
    os.set_inheritable(life, False)
    _end_with(life)
    import pyarrow as pa
    import pyarrow.parquet
    import torch.fx.experimental.symbolic_shapes  # noqa: F401 # every worker imports it for its first gradient

    pa.array([0])  # imports pandas, if it is installed
    gc.freeze()
    fork_workers(socket.socket(fileno=control))


if __name__ == "__main__":
    main()
