"""One small network in many runtimes, with the same weights in each."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from support.seeding import seed

SIDE = 16


def example(count: int = 2) -> Tensor:
    """Images for the models of this module."""
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


class Small(nn.Module):
    """Two convolutions, pooling and a linear head. `last` returns maps of 4x4 cells."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.last(self.stem(x))).flatten(1))


class Checkpointed(Small):
    """Runs both convolutions in reentrant checkpoints."""

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.stem, x, use_reentrant=True)
        x = checkpoint(self.last, x, use_reentrant=True)
        return self.head(self.pool(x).flatten(1))


class FrozenBackbone(Small):
    """Computes its features in inference mode."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.inference_mode():
            x = self.last(self.stem(x))
        return self.head(self.pool(x).flatten(1))


class Inference(Small):
    """Runs in inference mode."""

    @torch.inference_mode()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class Hooked(Small):
    """Registers a hook on an activation in every forward pass, which raises an error if there is no graph."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.stem(x))
        x.register_hook(self.keep)
        x.retain_grad()
        return self.head(self.pool(x).flatten(1))

    def keep(self, gradient: Tensor) -> None:
        self.kept = gradient


class Lazy(Small):
    """The first forward pass creates the weights of the head."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.LazyLinear(5)


class Columns(Small):
    """A recurrent network reads the columns of the maps."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM) -> None:
        super().__init__()
        self.columns = kind(12, 12, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.last(self.stem(x)).mean(2).transpose(1, 2)
        return self.head(self.columns(columns)[0][:, -1])


class Padded(nn.Module):
    """A `TransformerEncoder` over 16 patches, of which the last three are padding."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        padding = torch.arange(16, device=x.device).expand(len(x), -1) >= 13
        tokens = self.encoder(tokens, src_key_padding_mask=padding)
        return self.head(tokens.masked_fill(padding[..., None], 0).sum(1) / 13)


def seeded(kind: Callable[[], nn.Module]) -> nn.Module:
    """Return a model in evaluation mode. Parts that two classes share have equal weights."""
    seed()
    return kind().eval()


@contextmanager
def _deprecated() -> Iterator[None]:
    """Ignore that PyTorch plans to remove TorchScript and eager quantization."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def scripted() -> nn.Module:
    with _deprecated():
        return torch.jit.script(seeded(Small))


def traced() -> nn.Module:
    with _deprecated():
        return torch.jit.trace(seeded(Small), example())


def frozen() -> nn.Module:
    with _deprecated():
        return torch.jit.freeze(scripted())


def scripted_child() -> nn.Module:
    model = seeded(Small)
    with _deprecated():
        model.last = torch.jit.script(model.last)
    return model


def traced_child() -> nn.Module:
    model = seeded(Small)
    with _deprecated():
        model.stem = torch.jit.trace(model.stem, example())
    return model


def _program(count: int | None = None) -> torch.export.ExportedProgram:
    """Export the model for a number of images, or for any number."""
    shapes = ({0: torch.export.Dim.AUTO},) if count is None else None
    return torch.export.export(seeded(Small), (example(count or 2),), dynamic_shapes=shapes)


def exported(count: int | None = None) -> nn.Module:
    return _program(count).module()


def int8_dynamic(kind: type[Small] = Small, layer: str = "head") -> nn.Module:
    quantization = torch.ao.quantization
    with _deprecated():
        return quantization.quantize_dynamic(seeded(kind), {layer: quantization.default_dynamic_qconfig})


def int8_static() -> nn.Module:
    quantization = torch.ao.quantization
    model = nn.Sequential(quantization.QuantStub(), seeded(Small), quantization.DeQuantStub()).eval()
    with _deprecated():
        model.qconfig = quantization.get_default_qconfig(torch.backends.quantized.engine)
        quantization.prepare(model, inplace=True)
        model(example())
        return quantization.convert(model)


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return seeded(Small)


def offloaded() -> nn.Module:
    from accelerate import cpu_offload

    return cpu_offload(seeded(Small), execution_device=torch.device("cpu"), offload_buffers=True)


def sharded() -> nn.Module:
    """Shard the weights over one process. Requires `process_group`."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model, mesh = seeded(Small), init_device_mesh("cpu", (1,))
    for module in (model.stem, model.last, model):
        fully_shard(module, mesh=mesh)
    return model


@contextmanager
def process_group() -> Iterator[None]:
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True)
class Runtime:
    """A runtime of a model.

    Attributes
    ----------
    make
        Returns the model.
    plain
        Returns the same model in the plain eager runtime, or the model itself if it has no plain counterpart.
    layer
        The layer to explain. None if no layer can be observed.
    plain_layer
        The name of this layer in the plain model.
    gradients
        Whether the score has gradients.
    images
        The number of images that the model accepts.
    block
        The block size of the engine.
    """

    make: Callable[[], nn.Module]
    plain: Callable[[], nn.Module] = lambda: seeded(Small)
    layer: str | None = "last"
    plain_layer: str = "last"
    gradients: bool = True
    images: int = 2
    block: int | None = None


RUNTIMES = {
    "scripted": Runtime(scripted, layer=None),
    "traced": Runtime(traced, layer=None),
    "frozen": Runtime(frozen, layer=None),
    "scripted child": Runtime(scripted_child),
    "traced child": Runtime(traced_child),
    "exported": Runtime(exported, layer=None),
    "exported for one": Runtime(lambda: exported(1), layer=None, images=1),
    "unflattened": Runtime(lambda: torch.export.unflatten(_program())),
    "fx": Runtime(lambda: torch.fx.symbolic_trace(seeded(Small)), layer="last.1"),
    "int8 dynamic": Runtime(int8_dynamic, int8_dynamic, gradients=False, images=1, block=1),  # one scale per batch
    "int8 static": Runtime(int8_static, int8_static, "1.last", "1.last", gradients=False),
    "reentrant checkpoint": Runtime(lambda: seeded(Checkpointed)),
    "backbone in inference mode": Runtime(lambda: seeded(FrozenBackbone), gradients=False),
    "inference mode": Runtime(lambda: seeded(Inference), gradients=False),
    "made in inference mode": Runtime(made_in_inference_mode),
    "tensor hook": Runtime(lambda: seeded(Hooked)),
    "offloaded": Runtime(offloaded),
    "sharded": Runtime(sharded),
    "lstm": Runtime(lambda: seeded(Columns), lambda: seeded(Columns)),
    "padded": Runtime(lambda: seeded(Padded), lambda: seeded(Padded), "patches", "patches"),
    "padded, frozen": Runtime(
        lambda: seeded(Padded).requires_grad_(False), lambda: seeded(Padded), "patches", "patches"
    ),
}
