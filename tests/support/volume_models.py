"""Small random models of volumes and clips [B,C,D,H,W], and clips for them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from support.seeding import seed

SIZE = (8, 32, 32)


def two_clips(size: tuple[int, ...] = SIZE) -> Tensor:
    """Return two random clips."""
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))


class SmallCNN3d(nn.Module):
    """3-D convolutions with batch norm, a residual addition, pooling and a linear head."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(3, 8, 3, (1, 2, 2), 1), nn.BatchNorm3d(8), nn.ReLU(inplace=True))
        self.body = nn.Conv3d(8, 8, 3, 1, 1)
        self.last = nn.Sequential(nn.Conv3d(8, 12, 3, 2, 1), nn.BatchNorm3d(12), nn.ReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.head = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.pool(self.last(x + self.body(x))).flatten(1))


class PlainCNN3d(nn.Module):
    """Every activation is a module, and nothing is added: every gradient method of captum is defined."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(3, 6, 3, 1, 1), nn.ReLU(), nn.MaxPool3d(2))
        self.last = nn.Sequential(nn.Conv3d(6, 8, 3, 1, 1), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.flat = nn.Flatten()
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.flat(self.pool(self.last(self.first(x)))))


class SmallUNet3d(nn.Module):
    """Scores of each voxel from a coarse and a fine path."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(3, 6, 3, 1, 1), nn.BatchNorm3d(6), nn.ReLU())
        self.down = nn.Sequential(nn.Conv3d(6, 8, 3, (2, 4, 4), 1), nn.ReLU())
        self.up = nn.Upsample(scale_factor=(2, 4, 4), mode="trilinear")
        self.merge = nn.Sequential(nn.Conv3d(14, 8, 3, 1, 1), nn.ReLU())
        self.head = nn.Conv3d(8, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.stem(x)
        return self.head(self.merge(torch.cat([fine, self.up(self.down(fine))], 1)))


class FoldedCNN(nn.Module):
    """A 2-D network for each frame, whose scores are averaged. The frames are folded into the batch."""

    def __init__(self, classes: int = 5, frames_first: bool = False) -> None:
        super().__init__()
        self.frames_first = frames_first
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.last = nn.Sequential(nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.permute(2, 0, 1, 3, 4) if self.frames_first else x.transpose(1, 2)
        scores = self.head(self.pool(self.last(self.stem(frames.flatten(0, 1)))).flatten(1))
        if self.frames_first:
            return scores.unflatten(0, (-1, len(x))).mean(0)
        return scores.unflatten(0, (len(x), -1)).mean(1)


class Tubelets(nn.Module):
    """A transformer on the tokens of all tubelets of 2x8x8 pixels, with a class token."""

    def __init__(self, classes: int = 5, reads_class_token: bool = True) -> None:
        super().__init__()
        self.reads_class_token = reads_class_token
        self.patches = nn.Conv3d(3, 32, (2, 8, 8), (2, 8, 8))
        self.class_token = nn.Parameter(torch.randn(1, 1, 32))
        self.positions = nn.Parameter(torch.randn(1, 65, 32) / 4)
        self.blocks = nn.Sequential(*(_layer() for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), tokens], 1) + self.positions
        tokens = self.norm(self.blocks(tokens))
        return self.head(tokens[:, 0] if self.reads_class_token else tokens[:, 1:].mean(1))


class FoldedTokens(nn.Module):
    """A transformer for each frame, whose class tokens are averaged over the frames."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 8, 8)
        self.class_token = nn.Parameter(torch.randn(1, 1, 32))
        self.positions = nn.Parameter(torch.randn(1, 17, 32) / 4)
        self.blocks = nn.Sequential(*(_layer() for _ in range(2)))
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.transpose(1, 2).flatten(0, 1)
        tokens = self.patches(frames).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(frames), -1, -1), tokens], 1) + self.positions
        tokens = self.blocks(tokens)[:, 1:].mean(1)
        return self.head(tokens.unflatten(0, (len(x), -1)).mean(1))


class ReversedTime(SmallCNN3d):
    """The features are in the order of reversed time."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.last(self.body(self.stem(x)).flip(2))).flatten(1))


def _layer() -> nn.Module:
    return nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True, norm_first=True)


def built(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a random model, which is the same at every call."""
    seed(0)
    model = build()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def small_mvit() -> nn.Module:
    """Return torchvision's MViT v2 with two blocks for clips of 8x32x32 pixels."""
    from torchvision.models.video.mvit import MSBlockConfig, MViT

    three = [3, 3, 3]
    blocks = [
        MSBlockConfig(1, 16, 32, three, three, [1, 1, 1], [1, 4, 4]),
        MSBlockConfig(2, 32, 32, three, three, [1, 1, 1], [1, 2, 2]),
    ]
    options = {"residual_pool": True, "rel_pos_embed": True, "proj_after_attn": True, "stochastic_depth_prob": 0.0}
    return MViT((32, 32), 8, blocks, residual_with_cls_embed=False, num_classes=5, **options)


def small_swin3d() -> nn.Module:
    """Return torchvision's video Swin transformer with two stages."""
    from torchvision.models.video.swin_transformer import SwinTransformer3d

    return SwinTransformer3d([2, 4, 4], 16, [2, 2], [2, 4], [2, 2, 2], stochastic_depth_prob=0.0, num_classes=5)


def small_r3d() -> nn.Module:
    """Return torchvision's r3d_18 with one block in each stage."""
    from torchvision.models.video.resnet import BasicBlock, BasicStem, Conv3DSimple, VideoResNet

    return VideoResNet(BasicBlock, [Conv3DSimple] * 4, [1, 1, 1, 1], BasicStem, num_classes=5)


class MixedClips(FoldedCNN):
    """The features of a clip depend on the other clips of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + x.roll(1, 0).sum((1, 2, 3, 4), keepdim=True) * (len(x) > 1))
