"""Plugins that change settings of the process."""

import gc
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

import xai_core as xai
from support.misbehavior.case import BadExplainer, BadMetric, Kind, Misbehavior
from xai_core.errors import SideEffectError

NEW, CHANGED, REMOVED = "XAI_CORE_NEW_VARIABLE", "OMP_NUM_THREADS", "PATH"
"""Environment variables."""


@dataclass(frozen=True)
class Change:
    """A change of a setting.

    Attributes
    ----------
    description
        The change, as a verb and its object.
    act
        Changes the setting.
    setting
        The setting in the error. Empty: the change is undone without an error.
    """

    description: str
    act: Callable[[], Any]
    setting: str = ""


def _set_environment() -> None:
    os.environ |= {NEW: "1", CHANGED: "7"}


def _ignore(*_: Any) -> None:
    pass


CHANGES = {
    "grad-mode": Change(
        "switches the grad mode", lambda: torch.set_grad_enabled(not torch.is_grad_enabled()), "the grad mode"
    ),
    "device": Change("sets the default device", lambda: torch.set_default_device("meta"), "the default device"),
    "dtype": Change("sets the default dtype", lambda: torch.set_default_dtype(torch.float64), "the default dtype"),
    "threads": Change(
        "sets the number of threads",
        lambda: torch.set_num_threads(torch.get_num_threads() + 1),
        "the number of threads",
    ),
    "deterministic": Change(
        "requires deterministic algorithms",
        lambda: torch.use_deterministic_algorithms(True),
        "the use of deterministic algorithms",
    ),
    "precision": Change(
        "sets the precision of matrix products",
        lambda: torch.set_float32_matmul_precision("medium"),
        "the precision of matrix products",
    ),
    "cudnn": Change(
        "sets flags of cuDNN", lambda: setattr(torch.backends.cudnn, "benchmark", True), "the flags of cuDNN"
    ),
    "onednn": Change(
        "disables the kernels of oneDNN", lambda: torch._C._set_mkldnn_enabled(False), "the use of oneDNN"
    ),
    "attention-kernels": Change(
        "disables kernels of attention",
        lambda: torch.backends.cuda.enable_flash_sdp(False),
        "the kernels of attention",
    ),
    "denormals": Change(
        "rounds denormal numbers to zero", lambda: torch.set_flush_denormal(True), "the flush of denormal numbers"
    ),
    "anomalies": Change(
        "enables the anomaly detection of autograd",
        lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
        "the anomaly detection",
    ),
    "autocast": Change("enables autocast", lambda: torch.set_autocast_enabled("cpu", True), "autocast"),
    "numpy-errors": Change(
        "lets NumPy raise exceptions for underflows",
        lambda: np.seterr(all="raise"),
        "the error handling of NumPy divide, invalid, over, under",
    ),
    "hooks": Change(
        "registers a forward hook for all modules",
        lambda: nn.modules.module.register_module_forward_hook(_ignore),
        "the hooks of all modules",
    ),
    "torch-draw": Change("draws from the generator of PyTorch", lambda: torch.rand(1), "the random state of PyTorch"),
    "torch-seed": Change("seeds the generator of PyTorch", lambda: torch.manual_seed(3), "the random state of PyTorch"),
    "numpy-draw": Change("draws from the generator of NumPy", np.random.rand, "the random state of NumPy"),
    "numpy-seed": Change("seeds the generator of NumPy", lambda: np.random.seed(3), "the random state of NumPy"),
    "both-draws": Change(
        "draws from two generators",
        lambda: (np.random.rand(), torch.rand(1)),
        "the random state of PyTorch and the random state of NumPy",
    ),
    "python-draw": Change("draws from the generator of Python", random.random),
    "filters": Change("adds a warning filter", lambda: warnings.simplefilter("ignore"), "the warning filters"),
    "no-filters": Change("removes the warning filters", warnings.resetwarnings, "the warning filters"),
    "environment": Change(
        "sets environment variables", _set_environment, f"the environment variables {CHANGED}, {NEW}"
    ),
    "no-environment": Change(
        "removes an environment variable", lambda: os.environ.pop(REMOVED), f"the environment variables {REMOVED}"
    ),
    "directory": Change("changes the working directory", lambda: os.chdir("/"), "the working directory"),
    "sigterm": Change("handles SIGTERM", lambda: signal.signal(signal.SIGTERM, _ignore), "the handler of SIGTERM"),
    "sigint": Change("ignores Ctrl-C", lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), "the handler of SIGINT"),
    "recursion-limit": Change("raises the recursion limit", lambda: sys.setrecursionlimit(9999), "the recursion limit"),
    "import-path": Change("clears the import path", lambda: sys.path.clear(), "the import path"),
    "output": Change("replaces the standard output", lambda: setattr(sys, "stdout", None), "the standard streams"),
    "garbage": Change("disables the garbage collector", gc.disable, "the garbage collector"),
}


def _case(name: str, change: Change) -> Misbehavior:
    plugin = BadExplainer(f"process-{name}", lambda captured: change.act())
    if not change.setting:
        return Misbehavior(plugin, f"It {change.description}.", cost="Nothing, because the state is restored.")
    return Misbehavior(plugin, f"It {change.description}.", SideEffectError, f"changed the process: {change.setting}; ")


def _seed(*_: Any) -> None:
    torch.manual_seed(3)


PROCESS = Kind(
    "process",
    "Settings of the process",
    "Its results. The setting is restored.",
    (
        *(_case(name, change) for name, change in CHANGES.items()),
        Misbehavior(
            BadMetric("metric-seeds", _seed),
            "It is a metric that seeds the generator of PyTorch.",
            SideEffectError,
            "changed the process: the random state of PyTorch; ",
        ),
        Misbehavior(
            BadExplainer("needs-seeds", needs=lambda adapter: (_seed(), xai.Needs((adapter.default_layer,)))[1]),
            "It seeds the generator of PyTorch in `needs`.",
            SideEffectError,
            "changed the process: the random state of PyTorch; ",
        ),
    ),
)
