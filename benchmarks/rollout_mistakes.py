"""What the usual mistakes in attention rollout do to its maps, on `shapes-vit:pool=class` and unseen `shapes`.

Each is written out on whole matrices, in float64; `right` is what the explainer `rollout` gives.
"""

import argparse
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

import xai_core as xai
from xai_core.plugin import resize

Rollout = Callable[[list[Tensor]], Tensor]
"""From the matrices [B,heads,N,N] of the layers, first to last, to a row [B,N]."""


def with_residual(attention: Tensor) -> Tensor:
    """Ā = rownorm(½ A + ½ I), of heads already fused [B,N,N]."""
    mixed = (attention + torch.eye(attention.shape[-1], dtype=attention.dtype)) / 2
    return mixed / mixed.sum(-1, keepdim=True)


def product(matrices: list[Tensor]) -> Tensor:
    """The last times the one before it, and so on down to the first."""
    rolled = matrices[0]
    for matrix in matrices[1:]:
        rolled = matrix @ rolled
    return rolled


def fused(layers: list[Tensor], how: Callable[[Tensor], Tensor] = lambda heads: heads.mean(1)) -> list[Tensor]:
    return [with_residual(how(heads)) for heads in layers]


def right(layers: list[Tensor]) -> Tensor:
    return product(fused(layers))[:, 0]


def first_times_last(layers: list[Tensor]) -> Tensor:
    return product(fused(layers)[::-1])[:, 0]


def column_for_row(layers: list[Tensor]) -> Tensor:
    return product(fused(layers))[:, :, 0]


def transposed(layers: list[Tensor]) -> Tensor:
    return product(fused([heads.transpose(-2, -1) for heads in layers]))[:, 0]


def without_residual(layers: list[Tensor]) -> Tensor:
    return product([heads.mean(1) for heads in layers])[:, 0]


def residual_not_normalized(layers: list[Tensor]) -> Tensor:
    """A + I, each row of which sums to two: a scale of 2^L, which min-max normalization takes away."""
    return product([heads.mean(1) + torch.eye(heads.shape[-1], dtype=heads.dtype) for heads in layers])[:, 0]


def averaged_twice(layers: list[Tensor]) -> Tensor:
    """`nn.MultiheadAttention` gives the mean over heads [B,N,N]; a second mean over axis 1 is over queries."""
    rows = [heads.mean(1).mean(1) for heads in layers]
    return product(fused([row[:, None, None].expand(-1, -1, row.shape[-1], -1) for row in rows]))[:, 0]


def last_layer(layers: list[Tensor]) -> Tensor:
    return layers[-1].mean(1)[:, 0]


MISTAKES: Mapping[str, tuple[str, Rollout]] = {
    "right": ("Ā_L ... Ā_1, the class token's row", right),
    "first times last": ("Ā_1 ... Ā_L: matrices multiplied in the wrong order", first_times_last),
    "column for row": ("the class token's column of the right product", column_for_row),
    "transposed": ("A_l' in the place of A_l: keys taken for queries", transposed),
    "without residual": ("A_L ... A_1, without ½ I", without_residual),
    "residual not normalized": ("A_l + I, with rows that sum to two", residual_not_normalized),
    "averaged twice": ("weights that are a mean over heads already, averaged again", averaged_twice),
    "last layer": ("the class token's row of A_L alone, which is raw attention", last_layer),
}


def maps(rollout: Rollout, record: xai.AttentionRecord) -> Tensor:
    """A mistake's map on the grid of the patches, [B,h,w]."""
    layer = record.layers[0]
    assert layer.grid is not None
    row = rollout([weights.double() for weights in record.weights])
    return row[:, layer.prefix :].unflatten(1, layer.grid)


def measure(count: int) -> dict[str, tuple[float, float]]:
    """For each, the mean over images of the rank correlation with the right map, and the hits of the pointing game."""
    loaded = xai.load_model("shapes-vit:pool=class")
    engine, data = xai.Engine(loaded), xai.load_dataset(f"shapes:split=test,count={count}")
    samples = [data[i] for i in range(count)]
    images = torch.stack([loaded.preprocess(sample.image) for sample in samples])
    masks = torch.stack([sample.mask for sample in samples if sample.mask is not None])
    record = engine.attention(images)
    truth = ranks(maps(right, record))
    found = {}
    for name, (_, rollout) in MISTAKES.items():
        made = maps(rollout, record)
        correlation = (ranks(made) * truth).sum(1).mean().item()
        shown = resize(made, (images.shape[-2], images.shape[-1]))
        hits = masks.flatten(1).gather(1, shown.flatten(1).argmax(1, keepdim=True)).double().mean().item()
        found[name] = correlation, hits
    return found


def ranks(made: Tensor) -> Tensor:
    """Ranks of places, centerd, of length one: their product is Spearman's correlation."""
    places = made.flatten(1).argsort(1).argsort(1).double()
    centerd = places - places.mean(1, keepdim=True)
    return centerd / centerd.norm(dim=1, keepdim=True)


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--count", type=int, default=500, help="how many images")
    print("| variant | what it is | rank correlation | pointing game |\n| --- | --- | ---: | ---: |")
    for name, (correlation, hits) in measure(given.parse_args().count).items():
        print(f"| {name} | {MISTAKES[name][0]} | {correlation:.2f} | {hits:.1%} |")


if __name__ == "__main__":
    main()
