"""Small networks with random weights for conformance tests, and images for them."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

CLASSES = 5
SIZE = (32, 32)
WIDE = (32, 64)
"""A non-square size (H, W)."""


class ConvolutionalNetwork(nn.Module):
    """CNN with batch norm, a residual connection, channel and spatial attention, global average pooling, a linear head.

    Parameters
    ----------
    inplace
        Whether the activations, the residual addition and the channel attention modify their input in place.
    """

    def __init__(self, inplace: bool = True) -> None:
        super().__init__()
        self.inplace = inplace
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(inplace))
        self.branch = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8))
        self.channel_gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Sigmoid())
        self.spatial_gate = nn.Sequential(nn.Conv2d(8, 1, 3, 1, 1), nn.Sigmoid())
        self.last = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU(inplace), nn.Dropout(0.5))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B classes"]:
        """Return class scores."""
        x = self.stem(images)
        if self.inplace:
            y = self.branch(x)
            y += x
            y *= self.channel_gate(y)
            y = F.relu_(y)
        else:
            y = self.branch(x) + x
            y = F.relu(y * self.channel_gate(y))
        y = y * self.spatial_gate(y)
        return self.head(self.pool(self.last(y)).flatten(1))


class _Block(nn.Module):
    """Transformer block with pre-normalization, fused attention and an MLP with one hidden layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens: Tensor, queries: int | None = None) -> Tensor:
        """Compute the output tokens. Only the first `queries` tokens (default: all) attend to all tokens."""
        x = self.norm1(tokens)
        q = self.q(x[:, :queries])
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, *self.kv(x).chunk(2, 2)))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = tokens[:, :queries] + self.out(mixed)
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """Vision transformer: class token, three blocks of fused attention, linear head. Supports any image size.

    Parameters
    ----------
    class_attention
        Whether the class token is added before the last block, and only it attends there, as in CaiT.
    """

    def __init__(self, class_attention: bool = False) -> None:
        super().__init__()
        width = 24
        self.class_attention = class_attention
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.positions = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(_Block(width, 3) for _ in range(3))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B classes"]:
        """Return class scores."""
        x = self.patches(images)
        x = (x + self.positions(x)).flatten(2).transpose(1, 2)
        token = self.token.expand(len(x), -1, -1)
        *early, last = self.blocks
        if not self.class_attention:
            x = torch.cat([token, x], 1)
        for block in early:
            x = block(x)
        x = last(torch.cat([token, x], 1), 1) if self.class_attention else last(x)
        return self.head(self.norm(x)[:, 0])


class DetectionNetwork(nn.Module):
    """Detector with one box per cell of 8x8 pixels, and the output of a YOLO head: [B,4+classes,cells]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.ReLU()),
            nn.Sequential(nn.Conv2d(12, 12, 3, 2, 1), nn.ReLU()),
        )
        self.head = nn.Conv2d(12, 4 + CLASSES, 1)

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B outputs cells"]:
        """Return the center, the width and the height of each box in pixels, and the probability of each class."""
        x = self.head(self.body(images))
        rows, columns = (torch.arange(side, device=x.device) for side in x.shape[2:])
        cells = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))
        return torch.cat([8 * (cells + x[:, :2].sigmoid()), 24 * x[:, 2:4].sigmoid(), x[:, 4:].sigmoid()], 1).flatten(2)


class LinearNetwork(nn.Module):
    """Linear model: the contribution of each pixel to the score of class c is exactly `weight[c] * image`."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 3, 1, bias=False)  # adapters require a layer with spatial features
        nn.init.dirac_(self.features.weight)
        self.weight = nn.Parameter(torch.zeros(CLASSES, 3, *SIZE))

    def forward(self, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B classes"]:
        """Return class scores."""
        return torch.einsum("bchw,kchw->bk", self.features(images), self.weight)


def randomized(model: nn.Module, seed: int) -> nn.Module:
    """Draw weights and batch norm statistics from a seeded generator, and set evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if not tensor.is_floating_point():
                continue
            drawn = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + drawn.abs())
            elif tensor.ndim < 2:
                tensor.copy_(0.3 * drawn + (1 if name.endswith("weight") else 0))
            else:
                tensor.copy_(drawn * 1.5 / tensor[0].numel() ** 0.5)
    return model.eval()


# With these seeds, Grad-CAM has positive relevance for classes 1 and 3 in each image of `random_images`.


def convolutional_network(inplace: bool = True) -> nn.Module:
    """Return a ConvolutionalNetwork with random weights, in evaluation mode."""
    return randomized(ConvolutionalNetwork(inplace), 2)


def vision_transformer(class_attention: bool = False) -> nn.Module:
    """Return a VisionTransformer with random weights, in evaluation mode."""
    return randomized(VisionTransformer(class_attention), 0 if class_attention else 1)


def detection_network() -> nn.Module:
    """Return a DetectionNetwork with random weights, in evaluation mode."""
    return randomized(DetectionNetwork(), 3)


def linear_network() -> nn.Module:
    """Return a LinearNetwork with random weights, in evaluation mode."""
    model = LinearNetwork()
    nn.init.normal_(model.weight, generator=torch.Generator().manual_seed(0))
    return model.eval()


def networks() -> dict[str, nn.Module]:
    """Return the networks that explainers are tested on, by the name that messages use."""
    return {"a convolutional network": convolutional_network(), "a vision transformer": vision_transformer()}


def fallback_networks() -> dict[str, nn.Module]:
    """Return the networks for explainers that support none of `networks`, by the name that messages use."""
    return {
        "a transformer with class attention": vision_transformer(class_attention=True),
        "a detector": detection_network(),
    }


def random_images(count: int = 2, size: tuple[int, int] = SIZE, seed: int = 1) -> Float[Tensor, "B 3 H W"]:
    """Return random images with low spatial frequencies and some noise, approximately normalized."""
    noise = torch.randn(count, 3, size[0] // 4, size[1] // 4, generator=torch.Generator().manual_seed(seed))
    fine = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed + 1))
    return F.interpolate(noise, size, mode="bilinear", align_corners=False) + 0.3 * fine
