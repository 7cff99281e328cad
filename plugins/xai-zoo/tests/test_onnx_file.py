"""Weights of ONNX files: names, shapes, values, and files that cannot be read."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from xai_core.errors import CheckpointError, MissingDependencyError
from xai_zoo.onnx_file import read_onnx

onnx = pytest.importorskip("onnx", exc_type=ImportError)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 3), nn.GELU(), nn.Linear(3, 2, bias=False), nn.LayerNorm(2))


def exported(model: nn.Module) -> "onnx.ModelProto":
    """Build the graph that PyTorch's exporter writes for the linear layers of a model."""
    from onnx import TensorProto, helper, numpy_helper

    state = {key: value.numpy() for key, value in model.state_dict().items()}
    names = {"0.weight": "onnx::MatMul_7", "2.weight": "onnx::MatMul_9"}
    tensors = [
        numpy_helper.from_array(np.ascontiguousarray(value.T) if key in names else value, names.get(key, key))
        for key, value in state.items()
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "onnx::MatMul_7"], ["a"], name="/0/MatMul"),
        helper.make_node("Add", ["0.bias", "a"], ["b"], name="/0/Add"),
        helper.make_node("Gelu", ["b"], ["c"], name="/1/Gelu"),
        helper.make_node("MatMul", ["c", "onnx::MatMul_9"], ["d"], name="/2/MatMul"),
        helper.make_node("LayerNormalization", ["d", "3.weight", "3.bias"], ["y"], name="/3/LayerNormalization"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, n]) for name, n in (("x", 5), ("y", 2))]
    graph = helper.make_graph(nodes, "graph", values[:1], values[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_the_weights_have_the_names_of_modules(model: nn.Module, tmp_path: Path) -> None:
    onnx.save(exported(model), tmp_path / "model.onnx")
    state = read_onnx(tmp_path / "model.onnx")
    assert state.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(state[key], value)


def test_a_model_with_these_weights_equals_the_graph(model: nn.Module, tmp_path: Path) -> None:
    from onnx.reference import ReferenceEvaluator

    graph = exported(model)
    onnx.save(graph, tmp_path / "model.onnx")
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)
    model.load_state_dict(read_onnx(tmp_path / "model.onnx"))
    images = torch.randn(4, 5)
    [expected] = ReferenceEvaluator(graph).run(None, {"x": images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(model(images), torch.from_numpy(expected), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("content", [b"", b"not an ONNX file", b"\x08\x07"])
def test_other_files_are_rejected(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match="expected an ONNX file"):
        read_onnx(tmp_path / "model.onnx")


def test_a_truncated_file_is_rejected(model: nn.Module, tmp_path: Path) -> None:
    whole = exported(model).SerializeToString()
    (tmp_path / "model.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="expected an ONNX file"):
        read_onnx(tmp_path / "model.onnx")


def test_weights_in_other_files_are_not_read(model: nn.Module, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(60))
    graph = exported(model)
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret")
    onnx.save_model(graph, tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match="refers to other files"):
        read_onnx(tmp_path / "model.onnx")


def test_the_package_onnx_is_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match="pip install onnx"):
        read_onnx(tmp_path / "model.onnx")
