"""The default layer is the last features before pooling, whatever else a model computes: small models of each kind."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

import xai_core as xai
from support.explaining import captured_by
from support.models import settled
from xai_core.model.autograd_graph import dominators


class Inception(nn.Module):
    """Two stages; the last one reduces to a single place, in two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Conv2d(3, 8, 3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
        self.one = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 4))
        self.other = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 4))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stage(x)
        return self.head(torch.cat([self.one(x), self.other(x)], 1).flatten(1))


class Gated(nn.Module):
    """A map of weights, from a table of positions and from the features, scales the features before pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 8, 3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
        self.table = nn.Conv2d(2, 1, 1)
        self.gate = nn.Conv2d(8, 1, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.trunk(x)
        weights = self.gate(x) + self.table(torch.ones(1, 2, 4, 4))
        return self.head((x * weights.sigmoid()).mean((2, 3)))


class Linear(nn.Module):
    """A class token that reads the patches by attention which makes no matrix; `apart`, outputs are (map, token)."""

    def __init__(self, apart: bool) -> None:
        super().__init__()
        self.apart = apart
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.norm = nn.LayerNorm(8)
        self.key, self.value = nn.Linear(8, 16), nn.Linear(8, 16)
        self.back = nn.Linear(16, 8)
        self.block = nn.Identity()
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(len(x), -1, -1), self.patches(x).flatten(2).transpose(1, 2)], 1)
        normed = self.norm(tokens)
        context = self.key(normed).softmax(1).transpose(1, 2) @ self.value(normed)
        tokens = tokens + self.back(normed @ normed.new_ones(8, 16) @ context)
        if self.apart:
            _, token = self.block((tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4)), tokens[:, :1]))
        else:
            token = self.block(tokens)
        return self.head(token[:, 0])


@pytest.mark.parametrize(
    ("make", "layer"),
    [
        (Inception, "stage"),
        (Gated, "trunk"),
        (lambda: Linear(apart=False), "norm"),
        (lambda: Linear(apart=True), "norm"),
    ],
    ids=["branches to one place", "gate", "class token", "class token apart"],
)
def test_branches_gates_and_what_is_not_read_are_not_the_last_features(
    make: Callable[[], nn.Module], layer: str, images: Tensor
) -> None:
    model = settled(make())
    assert xai.Engine(model).adapter(images).default_layer == layer
    gradient = captured_by(model, images, xai.Needs((layer,), gradients=True), target=1).gradient()
    assert (gradient.abs().amax(1) > 0).all()


def test_a_layer_of_one_branch_is_not_the_default(images: Tensor) -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 2, 1)
            self.coarse, self.fine = nn.Conv2d(8, 8, 8, 8), nn.Conv2d(8, 8, 4, 4)
            self.head = nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(torch.cat([self.fine(x).mean((2, 3)), self.coarse(x).mean((2, 3))], 1))

    assert xai.Engine(settled(Branches())).adapter(images).default_layer == "stem"


class Residual(nn.Module):
    """A residual block that is not a module, and that may combine its branches in place."""

    def __init__(self, combine: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.combine = combine
        self.stem, self.branch, self.head = nn.Conv2d(3, 8, 3, 8, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.combine(self.branch(x), x).mean((2, 3)))


@pytest.mark.parametrize("combine", [Tensor.add, Tensor.add_, Tensor.mul_, Tensor.sub_, torch.maximum])
def test_a_branch_that_is_combined_in_place_is_not_on_every_path(
    combine: Callable[[Tensor, Tensor], Tensor], images: Tensor
) -> None:
    adapter = xai.Engine(settled(Residual(combine))).adapter(images)
    assert adapter.default_layer == "stem"
    assert {site.layer: on_every for site, on_every in adapter.probe.on_path.items()}["branch"] is False


def test_the_branches_of_a_resnet_are_not_on_every_path(images: Tensor) -> None:
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5)  # adds its branches in place
    on_every = {site.layer: on for site, on in xai.Engine(settled(model)).adapter(images).probe.on_path.items()}
    assert not any(on_every[f"layer{number}.0.bn2"] for number in range(1, 5))
    assert all(on_every[f"layer{number}.0"] for number in range(1, 5))


class WithoutFeatures(nn.Module):
    """Returns features, and an empty tensor for a stage that it does not have, as encoders of decoders do."""

    def __init__(self, *empty: int) -> None:
        super().__init__()
        self.empty, self.convolution = empty, nn.Conv2d(3, 8, 4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.new_empty(len(x), *self.empty), self.convolution(x)


@pytest.mark.parametrize("empty", [(0, 16, 16), (4, 0, 16), (4, 16, 0), (0, 16), (16, 0), (0,)], ids=str)
def test_empty_tensors_are_not_features(empty: tuple[int, ...], images: Tensor) -> None:
    class Model(nn.Sequential):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            nothing, features = self[0](x)
            return {"hidden": nothing, "logits": self[1](features) + nothing.sum()}

    model = settled(Model(WithoutFeatures(*empty), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())))
    assert xai.Engine(model).adapter(images).default_layer == "0"
    assert not xai.Engine(model).explain(images, "grad-cam")["grad-cam"].constant.any()


def test_a_padded_grid_is_not_the_default() -> None:
    """Its cells do not cover the image."""
    stage = nn.Sequential(nn.Conv2d(3, 8, 3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU())
    late = nn.Sequential(nn.ZeroPad2d((3, 0, 3, 0)), nn.Conv2d(8, 8, 7), nn.ReLU())
    model = settled(nn.Sequential(stage, late, nn.Flatten(), nn.Linear(8, 5)))
    adapter = xai.Engine(model).adapter(torch.randn(1, 3, 32, 32))
    assert adapter.default_layer == "0"
    assert adapter.features("0").grid == (4, 4)


def test_a_pyramid_of_token_stages_with_functional_pooling() -> None:
    """Stages in NHWC, tokens between them, images that are not square, pooling without a module."""

    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 4, 4)
            self.mix = nn.Linear(8, 8)
            self.reduce = nn.Conv2d(8, 12, 2, 2)
            self.last = nn.LayerNorm(12)
            self.head = nn.Linear(12, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.patches(x)
            x = self.mix(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
            x = self.last(self.reduce(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))

    adapter = xai.Engine(settled(Pyramid())).adapter(torch.randn(2, 3, 32, 48))
    assert (adapter.default_layer, adapter.grid, adapter.kind) == ("last", (4, 6), "convolutional")
    assert adapter.features("mix").layout == "NLC"


def test_nodes_on_every_path_dominate() -> None:
    source = torch.ones(2, requires_grad=True).clone()
    before = source * 2
    left, right = before.sin(), before.cos() * torch.ones(2, requires_grad=True)
    both = left + right
    aside = both * 3
    passed = dominators((both.exp() + 1).grad_fn, source.grad_fn)
    assert [passed.get(tensor.grad_fn) for tensor in (before, left, right, both, aside)] == [
        True, False, False, True, None,
    ]  # fmt: skip
