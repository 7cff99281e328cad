"""Safetensors files that are identical if their content is."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

_LENGTH = 8


def encoded(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Encode tensors and metadata as safetensors. Metadata other than text is written as JSON.

    safetensors writes the metadata in a random order. Here, the entries of the header are sorted. Tensors that share
    memory, such as tied weights, are written separately.
    """
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in metadata.items()}
    copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    content = save(copies, texts)
    end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    header = json.dumps(json.loads(content[_LENGTH:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % _LENGTH)  # tensors are aligned
    return len(header).to_bytes(_LENGTH, "little") + header + content[end:]
