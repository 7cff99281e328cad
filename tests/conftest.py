"""What all tests share: a seed, and small random models of each family, made anew for each test."""

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import xai_core as xai
from xai_core.errors import ConstantMapWarning, UnsuitableError

# Dozens of tests start a process that imports PyTorch, which takes twice as long without its bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Small models and matrices gain nothing from more threads, and lose much where cores are shared; here, and in the
# processes that this one starts, of which those that run tests have yet to load NumPy.
torch.set_num_threads(1)
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow tests first, so that no worker waits for another's at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Do not look through all that is loaded in every collection of garbage, which takes a fifth of the time."""
    gc.freeze()


def pytest_runtest_teardown() -> None:
    """Some tests let it thaw."""
    if not gc.get_freeze_count():
        gc.freeze()


def pytest_sessionfinish() -> None:
    """Let the process end as others do."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


Maps = dict[str, xai.Saliency]


class SmallCNN(nn.Module):
    """Convolutions with in-place ReLU, batch norm, a residual addition in place, pooling and a linear head."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8))
        self.last = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU(inplace=True), nn.Dropout(0.5))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        residual = self.body(x)
        residual += x
        x = self.last(self.gated(residual))
        return self.head(nn.functional.relu_(self.pool(x)).flatten(1))

    def gated(self, x: Tensor) -> Tensor:
        return nn.functional.relu_(x)


class GatedCNN(SmallCNN):
    """The same, with gates over channels and over places, the first of which writes over the features."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__(classes)
        self.channel = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.spatial = nn.Sequential(nn.Conv2d(8, 1, 3, 1, 1), nn.Hardsigmoid(inplace=True))

    def gated(self, x: Tensor) -> Tensor:
        x *= self.channel(x)
        x = nn.functional.relu_(x)
        return x * self.spatial(x)


class Plain(nn.Module):
    """Every activation a module of its own, no sum and no product: every method suits it."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.last = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flat = nn.Flatten()
        self.head = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.flat(self.pool(self.last(self.stem(x)))))


class Linear(nn.Module):
    """Class scores that are sums over pixels: w_c . x."""

    def __init__(self, size: tuple[int, int], classes: int = 4) -> None:
        super().__init__()
        self.seen = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.seen.weight)
        self.weight = nn.Parameter(torch.randn(classes, 3, *size))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bchw,kchw->bk", self.seen(x), self.weight)


class Constant(Linear):
    """The same, whatever the image."""

    def __init__(self, size: tuple[int, int], classes: int = 4) -> None:
        super().__init__(size, classes)
        nn.init.zeros_(self.weight)


def fused_vit(classes: int = 5, **options: object) -> nn.Module:
    import timm

    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4, **options}
    return timm.create_model("vit_tiny_patch16_224", num_classes=classes, **options)


def torchvision_vit(classes: int = 5) -> nn.Module:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(32, 8, num_layers=3, num_heads=4, hidden_dim=32, mlp_dim=64, num_classes=classes)
    nn.init.normal_(model.heads.head.weight)  # torchvision starts heads at zero, which no map can explain
    return model


FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "cnn": GatedCNN,
    "fused vit": fused_vit,
    "torchvision vit": torchvision_vit,
}


def settled(model: nn.Module) -> nn.Module:
    """Give batch norm statistics that differ from their start, and weights that are not near zero; evaluation mode."""
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point():
                tensor.add_(
                    torch.randn_like(tensor)
                    * 0.5
                    / max(1, tensor.numel() // max(1, len(tensor)) if tensor.ndim else 1) ** 0.5
                )
    return model.eval()


def made(family: str) -> nn.Module:
    """A small random model of a family, in evaluation mode."""
    torch.manual_seed(0)
    return settled(FAMILIES[family]())


def three_images() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def trace(model: nn.Module) -> dict[str, Any]:
    """Everything about a model that an explanation could change."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "values": {name: tensor.detach().clone() for name, tensor in tensors.items()},
        "identities": {name: id(tensor) for name, tensor in tensors.items()},
        "requires_grad": {name: tensor.requires_grad for name, tensor in tensors.items()},
        "grad": {name: tensor.grad for name, tensor in tensors.items()},
        "training": {name: module.training for name, module in model.named_modules()},
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "hooks": {
            name: [len(hooks) for key, hooks in vars(module).items() if "hooks" in key and hooks is not None]
            for name, module in model.named_modules()
        },
        "grad mode": torch.is_grad_enabled(),
    }


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(family: str) -> nn.Module:
    """A small random model of each family, in evaluation mode."""
    return made(family)


@pytest.fixture
def images() -> Tensor:
    return three_images()


FEWER = {
    "captum-occlusion": "captum-occlusion:sliding_window_shapes=8,strides=8",
    "feature-ablation": "feature-ablation:patch=8",
    "gradient-shap": "gradient-shap:n_samples=4",
    "integrated-gradients": "integrated-gradients:n_steps=4",
    "kernel-shap": "kernel-shap:n_samples=24,patch=16",
    "layer-conductance": "layer-conductance:n_steps=4",
    "layer-integrated-gradients": "layer-integrated-gradients:n_steps=4",
    "rise": "rise:masks=64",
    "shapley-value-sampling": "shapley-value-sampling:n_samples=1,patch=8",
    "smooth-grad": "smooth-grad:nt_samples=4",
}
"""Explainers that take thousands of forwards unless told, each as a spec that takes fewer and does the same."""


def suitable(engine: xai.Engine, images: Tensor) -> list[str]:
    """The specs of all installed explainers that suit the model."""
    adapter = engine.adapter(images)
    specs = []
    for name in xai.list_explainers():
        spec = FEWER.get(name, name)
        try:
            xai.create_explainer(spec).needs(adapter)
        except UnsuitableError:
            continue
        specs.append(spec)
    return specs


def one_pass(engine: xai.Engine, images: Tensor) -> list[str]:
    """Those of them that need one forward and one backward, and nothing more."""

    class AskedForMoreError(Exception):
        pass

    def ask(*_: object) -> None:
        raise AskedForMoreError

    names = []
    with pytest.MonkeyPatch.context() as patch:
        for more in ("partial_forward", "explain_images", "shared_model"):
            patch.setattr(xai.Captured, more, ask)
        patch.setattr(xai.Captured, "model_score", property(ask))
        for name in suitable(engine, images):
            needs = xai.create_explainer(name).needs(engine.adapter(images))
            with contextlib.suppress(AskedForMoreError):
                engine.explain(images[:1], name)
                if not any(need.curvature or need.block_scores for need in needs.all):
                    names.append(name)
    return names


def maps_for(target: object, engine: xai.Engine, images: Tensor, **maps: Tensor) -> Maps:
    """Maps [B,h,w] as an engine would give them for a target; it does not know how to make them again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        bound = engine.explain(images, "eigen-cam", target)["eigen-cam"].target
    size = (images.shape[-2], images.shape[-1])
    return {name: xai.Saliency.of(given, len(images), size, bound, name) for name, given in maps.items()}


def assert_same(ours: Maps, theirs: Maps, atol: float = 1e-5) -> None:
    assert ours.keys() == theirs.keys()
    for name, saliency in ours.items():
        difference = (saliency.values - theirs[name].values).abs().amax().item()
        assert difference <= atol, f"{name} differs by {difference}"


class Largest(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, Tensor):
                self.made = max(self.made, one.numel())
        return made


class Once(xai.Explainer):
    """Gives what a function makes of the captured."""

    name = "once"

    def __init__(self, needs: xai.Needs, function: Any) -> None:
        self._needs, self._function = needs, function

    @property
    def spec(self) -> str:
        return self.name

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return self._needs

    def explain(self, captured: xai.Captured) -> Tensor:
        return self._function(captured)


@contextlib.contextmanager
def given_to(model: nn.Module) -> Iterator[list[Tensor]]:
    """The batches of images that a model is given."""
    given: list[Tensor] = []
    handle = model.register_forward_pre_hook(lambda _, args: given.append(args[0].detach().clone()))
    try:
        yield given
    finally:
        handle.remove()


def captured_by(model: nn.Module, images: Tensor, needs: xai.Needs, **options: Any) -> xai.Captured:
    kept = []

    def keep(captured: xai.Captured) -> Tensor:
        kept.append(captured)
        return captured.images[:, 0]

    xai.Engine(model).explain(images, Once(needs, keep), **options)
    return kept[0]
