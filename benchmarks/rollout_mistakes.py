"""Effect of common mistakes in attention rollout on its maps: prints a table.

The model is `shapes-vit:pool=class`, and the images are from the test split of `shapes`. Each variant is written with
whole matrices in float64. The variant `correct` equals the explainer `rollout`.
"""

import argparse
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

import xai_core as xai
from xai_core.plugin import resize

Rollout = Callable[[list[Tensor]], Tensor]
"""Maps the matrices [B,heads,N,N] of the layers, first to last, to a row [B,N]."""


def with_residual(attention: Tensor) -> Tensor:
    """Return Ā = rownorm(½ A + ½ I) of attention [B,N,N] with fused heads."""
    mixed = (attention + torch.eye(attention.shape[-1], dtype=attention.dtype)) / 2
    return mixed / mixed.sum(-1, keepdim=True)


def product(matrices: list[Tensor]) -> Tensor:
    """Return the matrix product, with the last matrix as the left factor."""
    rolled = matrices[0]
    for matrix in matrices[1:]:
        rolled = matrix @ rolled
    return rolled


def fused(layers: list[Tensor], how: Callable[[Tensor], Tensor] = lambda heads: heads.mean(1)) -> list[Tensor]:
    return [with_residual(how(heads)) for heads in layers]


def correct(layers: list[Tensor]) -> Tensor:
    return product(fused(layers))[:, 0]


def wrong_order(layers: list[Tensor]) -> Tensor:
    return product(fused(layers)[::-1])[:, 0]


def column_instead_of_row(layers: list[Tensor]) -> Tensor:
    return product(fused(layers))[:, :, 0]


def transposed(layers: list[Tensor]) -> Tensor:
    return product(fused([heads.transpose(-2, -1) for heads in layers]))[:, 0]


def without_residual(layers: list[Tensor]) -> Tensor:
    return product([heads.mean(1) for heads in layers])[:, 0]


def residual_not_normalized(layers: list[Tensor]) -> Tensor:
    """Use A + I, whose rows sum to two. The factor 2^L disappears in min-max normalization."""
    return product([heads.mean(1) + torch.eye(heads.shape[-1], dtype=heads.dtype) for heads in layers])[:, 0]


def averaged_twice(layers: list[Tensor]) -> Tensor:
    """Average over axis 1 twice: `nn.MultiheadAttention` returns [B,N,N], so the second mean is over queries."""
    rows = [heads.mean(1).mean(1) for heads in layers]
    return product(fused([row[:, None, None].expand(-1, -1, row.shape[-1], -1) for row in rows]))[:, 0]


def last_layer(layers: list[Tensor]) -> Tensor:
    return layers[-1].mean(1)[:, 0]


MISTAKES: Mapping[str, tuple[str, Rollout]] = {
    "correct": ("Ā_L ... Ā_1, row of the class token", correct),
    "wrong order": ("Ā_1 ... Ā_L: matrices multiplied in the wrong order", wrong_order),
    "column instead of row": ("column of the class token in the correct product", column_instead_of_row),
    "transposed": ("A_l' instead of A_l: keys and queries exchanged", transposed),
    "without residual": ("A_L ... A_1, without ½ I", without_residual),
    "residual not normalized": ("A_l + I, with rows that sum to two", residual_not_normalized),
    "averaged twice": ("second mean over axis 1, which then contains queries instead of heads", averaged_twice),
    "last layer only": ("row of the class token in A_L, which is raw attention", last_layer),
}


def maps(rollout: Rollout, record: xai.AttentionRecord) -> Tensor:
    """Return the map of a variant on the patch grid, [B,h,w]."""
    layer = record.layers[0]
    assert layer.grid is not None
    row = rollout([weights.double() for weights in record.weights])
    return row[:, layer.elements].unflatten(1, layer.grid)


def measure(count: int) -> dict[str, tuple[float, float]]:
    """Return the mean rank correlation with the correct map, and the pointing game score, of each variant."""
    loaded = xai.load_model("shapes-vit:pool=class")
    engine, data = xai.Engine(loaded), xai.load_dataset(f"shapes:split=test,count={count}")
    samples = [data[i] for i in range(count)]
    images = torch.stack([loaded.preprocess(sample.image) for sample in samples])
    masks = torch.stack([sample.mask for sample in samples if sample.mask is not None])
    record = engine.attention(images)
    expected = ranks(maps(correct, record))
    measured = {}
    for name, (_, rollout) in MISTAKES.items():
        variant = maps(rollout, record)
        correlation = (ranks(variant) * expected).sum(1).mean().item()
        resized = resize(variant, (images.shape[-2], images.shape[-1]))
        hits = masks.flatten(1).gather(1, resized.flatten(1).argmax(1, keepdim=True)).double().mean().item()
        measured[name] = correlation, hits
    return measured


def ranks(maps: Tensor) -> Tensor:
    """Return the centered ranks of the cells, scaled to length one. Their dot product is Spearman's correlation."""
    order = maps.flatten(1).argsort(1).argsort(1).double()
    centered = order - order.mean(1, keepdim=True)
    return centered / centered.norm(dim=1, keepdim=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="number of images")
    print("| variant | formula | rank correlation | pointing game |\n| --- | --- | ---: | ---: |")
    for name, (correlation, hits) in measure(parser.parse_args().count).items():
        print(f"| {name} | {MISTAKES[name][0]} | {correlation:.2f} | {hits:.1%} |")


if __name__ == "__main__":
    main()
