"""Reads the weights of ONNX files, without running the graph."""

from pathlib import Path
from typing import Any

import torch

from xai_core.plugin import CheckpointError, MissingDependencyError
from xai_zoo.prefixes import StateDict


def read_onnx(file: Path) -> StateDict:
    """Return the tensors of an ONNX file by name.

    The exporter of PyTorch transposes the weights of linear layers and removes their names. Here they have the name of
    their module again, such as `encoder.fc1.weight`, and the shape [outputs, inputs]. All other tensors are unchanged.

    Raises
    ------
    MissingDependencyError
        If the package `onnx` is not installed.
    CheckpointError
        If the file cannot be read, or refers to other files.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(f"{file} requires the package `onnx`: `pip install onnx`") from error
    try:
        graph = onnx.load(file, load_external_data=False).graph
        tensors = {tensor.name: _tensor(tensor, file) for tensor in graph.initializer}
    except CheckpointError:
        raise
    except Exception as error:  # for damaged files, protobuf and NumPy raise errors of many classes
        message = str(error).partition("\n")[0]
        raise CheckpointError(f"{file} cannot be read ({message}); expected an ONNX file") from error
    if not tensors:
        raise CheckpointError(f"{file} contains no weights; expected an ONNX file")
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in tensors:
            module = node.name.strip("/").removesuffix("/MatMul").replace("/", ".")
            tensors[f"{module}.weight"] = tensors.pop(node.input[1]).T
    return tensors


def _tensor(tensor: Any, file: Path) -> torch.Tensor:
    from onnx import TensorProto, numpy_helper

    if tensor.data_location == TensorProto.EXTERNAL:
        raise CheckpointError(f"{file} refers to other files; expected an ONNX file that contains all weights")
    return torch.from_numpy(numpy_helper.to_array(tensor).copy())
