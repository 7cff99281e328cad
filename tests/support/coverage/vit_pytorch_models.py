"""Every image classifier of vit-pytorch, with few small layers."""

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from functools import partial
from typing import Any

import vit_pytorch
import vit_pytorch.vit
from torch import nn

from support.coverage.case import Built, Case

SIDE, LABELS = 64, 5
GENERAL: dict[str, Any] = {
    "image_size": SIDE, "patch_size": 8, "num_classes": LABELS, "dim": 32, "depth": 2, "heads": 2, "mlp_dim": 64,
    "dim_head": 16, "cls_depth": 2, "ndim": 2, "input_shape": (SIDE, SIDE),
}  # fmt: skip
CHANGES: dict[str, dict[str, Any]] = {
    "ats_vit": {"max_tokens_per_depth": (40, 30)},
    "cct": {
        "img_size": SIDE, "embedding_dim": 32, "num_layers": 2, "num_heads": 2, "mlp_ratio": 1, "num_classes": LABELS,
        "n_conv_layers": 2,
    },
    "cross_vit": {"sm_dim": 32, "lg_dim": 32, "sm_patch_size": 8, "lg_patch_size": 16, "lg_enc_depth": 1, "depth": 1},
    "crossformer": {
        "dim": (32, 32, 48, 64), "depth": (1, 1, 1, 1), "global_window_size": (4, 2, 2, 1), "local_window_size": 2,
    },
    "cvt": {"s1_emb_dim": 16, "s2_emb_dim": 32, "s3_emb_dim": 48, "s3_depth": 2, "s3_emb_stride": 1},
    "efficient": {"transformer": vit_pytorch.vit.Transformer(32, 2, 2, 16, 64)},
    "jumbo_vit": {"jumbo_cls_k": 2},
    "levit": {"depth": 2, "heads": 2, "mlp_mult": 2, "dim": 32, "stages": 2},
    "look_vit": {"patch_size": 16, "highres_patch_size": 8, "patch_conv_kernel_size": 3},
    "looped_vit": {"pre_loop_depth": 1, "num_looped_blocks": 1, "post_loop_depth": 1, "loop_depth": 2},
    "max_vit": {"dim": 16, "dim_head": 8, "depth": (1, 1), "window_size": 4},
    "max_vit_with_registers": {"dim": 16, "dim_head": 8, "depth": (1, 1), "window_size": 4},
    "mobile_vit": {
        "image_size": (128, 128), "depths": (1, 1, 1), "patch_size": (2, 2), "dims": (16, 24, 32),
        "channels": (8, 16, 24, 24, 32, 32, 48, 48, 64, 64, 96),
    },
    "nest": {"num_hierarchies": 2, "block_repeats": (1, 1)},
    "pit": {"depth": (1, 1)},
    "regionvit": {"dim": (16, 32, 48, 64), "depth": (1, 1, 1, 1), "window_size": 4},
    "scalable_vit": {
        "dim": 16, "depth": (1, 1), "heads": (2, 2), "reduction_factor": (2, 1), "window_size": (4, None),
        "ssa_dim_key": (8, 8), "ssa_dim_value": (8, 8), "iwsa_dim_key": (8, 8), "iwsa_dim_value": (8, 8),
    },
    "sep_vit": {"dim": 16, "depth": (1, 1), "heads": (2, 2), "window_size": 4, "dim_head": 8},
    "simple_vit_with_fft": {"freq_patch_size": 8},
    "simple_vit_with_hyper_connections": {"num_residual_streams": 2},
    "twins_svt": {
        f"s{stage}_{name}": value
        for stage in (1, 2, 3, 4)
        for name, value in {"emb_dim": 16 * stage, "local_patch_size": 2, "global_k": 2, "depth": 1}.items()
    },
    "wwt": {"num_slots": (16, 8)},
}  # fmt: skip
"""Arguments by module, which win over the general ones."""
SIDES = {"crossformer": 128, "mobile_vit": 128, "regionvit": 128, "sep_vit": 112, "twins_svt": 128}
"""Sides of images by module, for models that merge cells often or ignore the size of their windows."""
CLASSES = {"cct": "CCT"}
"""Classes that build the classifier of their module, by module."""
OTHER_INPUTS = {"seq_len", "frames", "max_frames", "num_frames"}
"""Parameters of models that take sequences or videos."""
OTHER_TASKS = {"cct_3d", "vaat", "vat", "vat_siglip", "mp3", "learnable_memory_vit"}
"""Modules whose image classifier is a part of a model for another task, or takes videos or another
model."""


def cases() -> Iterator[Case]:
    """Yield a case for the classifier of each module that takes images."""
    for module in pkgutil.iter_modules(vit_pytorch.__path__):
        if module.name not in OTHER_TASKS:
            model_class = classifier(importlib.import_module(f"vit_pytorch.{module.name}"))
            if model_class is not None:
                yield case(module.name, model_class.__name__)


def case(family: str, name: str) -> Case:
    """Return the case of a class. The family is its module."""
    return Case("vit-pytorch", family, name, partial(build, family, name))


def classifier(module: Any) -> type[nn.Module] | None:
    """Return the last class of a module that takes images and has a number of classes."""
    name = module.__name__.rpartition(".")[2]
    if name in CLASSES:
        return getattr(module, CLASSES[name])
    for value in reversed(vars(module).values()):
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == module.__name__:
            parameters = inspect.signature(value).parameters.keys()
            if "num_classes" in parameters and not parameters & OTHER_INPUTS:
                return value
    return None


def build(module: str, name: str) -> Built:
    model_class = getattr(importlib.import_module(f"vit_pytorch.{module}"), name)
    parameters = inspect.signature(model_class).parameters
    arguments = {name: value for name, value in GENERAL.items() if name in parameters} | CHANGES.get(module, {})
    side = SIDES.get(module, SIDE)
    return Built(model_class(**arguments), (side, side))
