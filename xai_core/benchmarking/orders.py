"""Messages between a supervisor and the process of its worker."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from xai_core.benchmarking.activity import Activity, Blame, ThreadActivity
from xai_core.benchmarking.plan import Plan
from xai_core.benchmarking.shards import Shard, ShardFiles

FORK, STATUS = b"f", b"s"
"""Requests to the fork server: fork a worker that uses two pipes, or return the exit code of a worker."""
NUMBER = struct.Struct("q")
"""Format of process numbers and exit codes."""
RUNNING = 2**20
"""The answer instead of an exit code while the worker still runs."""


@dataclass(frozen=True)
class Resolve:
    """The instruction to resolve settings, and to begin the resolved benchmark.

    Attributes
    ----------
    settings
        Pickled `Settings`.
    code
        See `resolve`.
    device, probe_device, workers
        See `resolve`.
    ended
        The reason for each step that ended earlier workers, by its description. These steps raise an error.
    path
        The folders in which Python looks for modules.
    torch_settings
        Settings of PyTorch.
    """

    settings: bytes
    code: Mapping[str, str]
    device: torch.device
    probe_device: torch.device
    workers: int
    ended: Mapping[str, str]
    path: tuple[str, ...]
    torch_settings: "TorchSettings"


@dataclass(frozen=True)
class Resolved:
    """The answer to `Resolve`.

    Attributes
    ----------
    plan
        The plan.
    warnings
        The category, the message, the file and the line of each warning.
    """

    plan: Plan
    warnings: tuple[tuple[type[Warning], str, str, int], ...]


@dataclass(frozen=True)
class Begin:
    """The instruction to begin a benchmark.

    Attributes
    ----------
    plan
        The plan.
    blames
        The causes that ended earlier workers.
    path
        The folders in which Python looks for modules.
    torch_settings
        Settings of PyTorch.
    """

    plan: Plan
    blames: tuple[Blame, ...]
    path: tuple[str, ...]
    torch_settings: "TorchSettings"


@dataclass(frozen=True)
class Work:
    """The instruction to run a shard: see `Worker.run`."""

    shard: Shard
    following: Shard | None
    alone: bool
    in_threads: bool


@dataclass(frozen=True)
class Failure:
    """An exception of the worker, and its traceback as text."""

    error: Exception
    traceback: str


Order = Resolve | Begin | Work
Answer = Resolved | ShardFiles
Reply = Activity | ThreadActivity | Answer | Failure


@dataclass(frozen=True)
class TorchSettings:
    """Settings of PyTorch on which results depend, and that another process does not inherit."""

    matmul_precision: str
    deterministic: tuple[bool, bool]
    cudnn: tuple[bool, bool, bool, bool]
    dtype: Any
    threads: int

    @classmethod
    def current(cls) -> "TorchSettings":
        """Return the settings of this process."""
        cudnn = torch.backends.cudnn
        return cls(
            torch.get_float32_matmul_precision(),
            (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
            (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
            torch.get_default_dtype(),
            torch.get_num_threads(),
        )

    def apply(self) -> None:
        """Apply the settings to this process."""
        torch.set_float32_matmul_precision(self.matmul_precision)
        if self.deterministic != TorchSettings.current().deterministic:  # the call imports PyTorch's compiler
            enabled, warn_only = self.deterministic
            torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        cudnn = torch.backends.cudnn
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = self.cudnn
        torch.set_default_dtype(self.dtype)
        torch.set_num_threads(self.threads)
