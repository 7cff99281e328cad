"""Hashes that identify the weights of a model and the images of a dataset."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import torch
from torch import nn

from xai_core.data.pairs import Pairs
from xai_core.data.sources import Dataset, Sample


def weights_hash(model: nn.Module) -> str:
    """Return the SHA-256 of the names and values of a model's parameters and buffers, as 64 hexadecimal digits."""
    content = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, torch.Tensor):
            values = tensor.detach().cpu().contiguous()
            content.update(f"{name} {values.dtype} {list(values.shape)}\n".encode())
            content.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def dataset_hash(data: Dataset, images: int, first: Sample, labeled: bool = False) -> str:
    """Return a SHA-256 that identifies the first images of a dataset, as 64 hexadecimal digits.

    If the dataset has `ids`, the hash covers the ids of these images. Otherwise it covers the id and the pixels of the
    first readable sample only, because no other image is decoded.

    Parameters
    ----------
    data
        The dataset.
    images
        Number of images, from the start of the dataset.
    first
        The first readable sample.
    labeled
        Whether to include the dataset's `class_names` and `targets`, if it has any, and the label of `first`.
    """
    ids = getattr(data, "ids", None)
    if isinstance(ids, Sequence):
        content = hashlib.sha256(json.dumps([str(each) for each in islice(ids, images)]).encode())
    else:
        image = first.image
        if isinstance(image, torch.Tensor):
            image = image.detach().cpu()
            image = image.float() if image.dtype == torch.bfloat16 else image  # NumPy has no bfloat16
        pixels = np.ascontiguousarray(image)
        identity = f"{first.id} {pixels.dtype} {list(pixels.shape)}\n"
        content = hashlib.sha256(identity.encode(errors="backslashreplace"))
        content.update(pixels.tobytes())
    if labeled:
        names = getattr(data, "class_names", None)
        targets = getattr(data.pairs if isinstance(data, Pairs) else data, "targets", None)
        labels = [str(target) for target in islice(targets, images)] if isinstance(targets, Iterable) else None
        content.update(json.dumps([names and [*map(str, names)], labels, first.target]).encode())
    return content.hexdigest()
