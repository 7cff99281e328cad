"""Fixtures of the benchmarks, and turns: all libraries of a group run once per turn, so that noise affects all."""

import os
import shlex
from importlib.metadata import version
from typing import Any

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from timing import DEVICE, Timing
from torch import Tensor, nn

import xai_core as xai

PEERS = ("grad-cam", "torchcam", "captum", "quantus")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--turns", type=int, default=3, help="Number of turns. [default: 3]")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "turn" in metafunc.fixturenames:
        metafunc.parametrize("turn", range(metafunc.config.getoption("--turns")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: (item.path, item.callspec.params["turn"]))  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(8, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(DEVICE)


@pytest.fixture(scope="module")
def image(images: Tensor) -> Tensor:
    return images[:1]


@pytest.fixture(scope="module")
def engine(model: nn.Module) -> xai.Engine:
    return xai.Engine(model)


@pytest.fixture
def timed(benchmark: BenchmarkFixture, group: str, turn: int) -> Timing:
    return Timing(benchmark, group, turn)


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    del machine_info["node"]
    machine_info["device"] = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"
    machine_info["cores"] = os.cpu_count()
    machine_info["threads"] = torch.get_num_threads()
    machine_info["versions"] = {name: version(name) for name in ("torch", "torchvision", "xai-core", *PEERS)}


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    shown = [argument for argument in config.invocation_params.args if not argument.startswith("--benchmark-json")]
    threads = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("OMP_")]
    output_json["command"] = shlex.join([*threads, "uv", "run", "--group", "peers", "pytest", *map(str, shown)])
