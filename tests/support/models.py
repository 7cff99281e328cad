"""Small random models of each family, and images for them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from support.seeding import seed


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


def with_small_classifier(make: Callable[[], nn.Module], inputs: int, classes: int = 5) -> nn.Module:
    """A VGG or AlexNet of torchvision with a linear classifier, instead of 60 to 120 million weights that take seconds.

    `inputs` is the number of features after pooling.
    """
    with torch.device("meta"):
        model: Any = make()
    model.features.to_empty(device="cpu")
    for module in model.features:
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    model.classifier = nn.Linear(inputs, classes)
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
    seed()
    return settled(FAMILIES[family]())


def three_images() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
