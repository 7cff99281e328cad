"""ViT-CX against a replica in float64 that clusters and masks one channel, one mask and one image at a time."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from support.references import Reference, relative
from xai_core.errors import UnsuitableError
from xai_perturbation.vit_cx import clustered, inner_products

TARGETS = [3, 1]


def minmax(maps: Tensor) -> Tensor:
    return (maps - maps.min()) / (maps.max() - maps.min())


def clusters(masks: Tensor, distance: float) -> list[list[int]]:
    """Merge the two nearest clusters, whose distance is that of their farthest members, up to a distance."""
    units = F.normalize(masks.flatten(1))
    distances = (1 - units @ units.T).tolist()
    groups = [[index] for index in range(len(masks))]
    while len(groups) > 1:
        farthest = {
            (i, j): max(distances[a][b] for a in groups[i] for b in groups[j])
            for i, j in itertools.combinations(range(len(groups)), 2)
        }
        (i, j), nearest = min(farthest.items(), key=lambda item: item[1])
        if nearest > distance:
            break
        groups[i] += groups.pop(j)
    return groups


def replica(reference: Reference, i: int, distance: float, noise: Tensor) -> tuple[Tensor, int]:
    """Xie et al., section 4, with the same noise for all masks, and the number of clusters."""
    x = reference.images[i]

    def probabilities(*images: Tensor) -> Tensor:
        return reference.model(torch.stack(images)).softmax(1)[:, TARGETS, None, None]

    channels = F.interpolate(reference.activation[i][None], (32, 32), mode="bilinear")[0]
    channels = torch.stack([minmax(channel) for channel in channels])
    masks = [minmax(channels[group].sum(0)) for group in clusters(channels, distance)]
    total = torch.zeros(len(TARGETS), 32, 32, dtype=torch.float64)
    for mask in masks:
        hidden = noise * (1 - mask)
        masked, noisy, whole = probabilities(x * mask + hidden, x + hidden, x)
        total += (masked - noisy + whole) * mask
    return (total / torch.stack(masks).sum(0)).nan_to_num(0) / len(masks), len(masks)


@pytest.mark.parametrize(("distance", "noise"), [(0.1, 0), (2, 0.1)])
@torch.no_grad()
def test_maps_are_those_of_the_paper(distance: float, noise: float) -> None:
    """With noise, there is one cluster, because the order of clusters determines which noise each receives."""
    model, images = settled(fused_vit()), torch.randn(2, 3, 32, 32)
    with torch.enable_grad():
        reference = Reference(model, "blocks.2.norm1", images)
    spec = f"vit-cx:distance={distance},noise={noise}"
    maps = xai.Engine(model.double(), block=7).explain(images.double(), spec, [TARGETS, TARGETS])[spec].raw
    drawn = noise * torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    expected, count = replica(reference, 1, distance, drawn)
    assert (count == 1) == bool(noise)
    assert count < 32
    assert relative(maps[1], expected) < 1e-6


def test_inner_products_of_volumes() -> None:
    channels, size = torch.randn(4, 2, 3, 4).double(), (4, 9, 8)
    resized = F.interpolate(channels[None], size, mode="trilinear")[0].flatten(1)
    torch.testing.assert_close(inner_products(channels, size), resized @ resized.mT)


def test_constant_channels_are_clusters_of_their_own() -> None:
    channels = torch.stack([torch.ones(3, 3), torch.eye(3), 2 * torch.eye(3), torch.zeros(3, 3)])
    groups = clustered(channels, (3, 3), 0.1)
    torch.testing.assert_close(groups.sum((1, 2)).sort().values, torch.tensor([0.0, 0.0, 6.0]))


def test_feature_maps_of_a_cnn() -> None:
    with pytest.raises(UnsuitableError, match=r"vit-cx requires tokens.*'last'.*score-cam"):
        xai.Engine(settled(SmallCNN())).explain(torch.randn(1, 3, 32, 32), "vit-cx")
