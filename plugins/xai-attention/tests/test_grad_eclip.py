"""Grad-ECLIP against a replica of its equations in float64, with queries, keys and values from plain hooks."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xai_core as xai
from support.attention_models import Encoder, attention_pooling
from support.dual_encoders import DUAL_ENCODERS, TEXTS, DualEncoder
from support.models import SmallCNN, fused_vit, settled
from xai_core.plugin import UnsuitableError

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
Seen = dict[str, Tensor]
"""The queries [B,1,C] of the class token, the keys and values [B,N,C] of patches, the output and its projection."""


def kept(seen: Seen, name: str, value: Tensor) -> None:
    seen[name] = value


def watch_projections(attention: Any, seen: Seen) -> None:
    """The class token comes first, and modules project queries, keys, values and outputs, as in transformers."""
    for name in ("q", "k", "v"):
        getattr(attention, f"{name}_proj").register_forward_hook(lambda _, __, out, name=name: kept(seen, name, out))
    attention.out_proj.register_forward_pre_hook(lambda _, args: kept(seen, "o", args[0]))


def watch_timm(attention: Any, seen: Seen) -> None:
    def after(_: nn.Module, __: Any, output: Tensor) -> None:
        seen.update(zip("qkv", output.chunk(3, -1), strict=True))

    attention.qkv.register_forward_hook(after)
    attention.proj.register_forward_pre_hook(lambda _, args: kept(seen, "o", args[0]))


def watch_multi_head(attention: nn.MultiheadAttention, seen: Seen) -> None:
    """PyTorch's attention, which projects its arguments itself."""

    def after(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        inputs = [*args, *(kwargs[name] for name in ("query", "key", "value")[len(args) :])]
        for name, tokens, weight, bias in zip(
            "qkv", inputs, attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=False
        ):
            seen[name] = F.linear(tokens, weight, bias)
        seen["projected"] = output[0]

    attention.register_forward_hook(after, with_kwargs=True)


def replica(score: Tensor, seen: Seen, weight: Tensor | None, prefix: int) -> Tensor:
    """The equations of the paper, one image and one patch at a time."""
    if weight is None:
        [gradient] = torch.autograd.grad(score, seen["o"])
    else:
        [gradient] = torch.autograd.grad(score, seen["projected"])
        gradient = gradient @ weight  # o W' + b
    maps = []
    for q, k, v, g in zip(seen["q"], seen["k"], seen["v"], gradient, strict=True):
        cosines = torch.stack([F.cosine_similarity(q[0], key, dim=0) for key in k[prefix:]])
        weights = (cosines - cosines.min()) / (cosines.max() - cosines.min())
        patches = zip(v[prefix:], weights, strict=True)
        maps.append(torch.stack([(g[0] * value * weight).sum().clamp(min=0) for value, weight in patches]))
    return torch.stack(maps).unflatten(1, (4, 4)).detach()


def of_encoder(name: str) -> Callable[[], tuple[nn.Module, xai.Engine, Any, Callable[[Any, Tensor], Tensor]]]:
    def make() -> tuple[nn.Module, xai.Engine, Any, Callable[[Any, Tensor], Tensor]]:
        encoder: DualEncoder = DUAL_ENCODERS[name]
        model = encoder.build()
        engine = xai.Engine(model, tokenizer=encoder.tokenizer)
        return model, engine, xai.Text(TEXTS[0]), lambda model, images: encoder.logits(model, images, TEXTS)[:, 0]

    return make


def of_classifier(make: Callable[[], nn.Module]) -> Callable[[], Any]:
    def case() -> Any:
        model = settled(make())
        return model, xai.Engine(model), 1, class_score

    return case


def class_score(model: nn.Module, images: Tensor) -> Tensor:
    output = model(images)
    return getattr(output, "logits", output)[:, 1]


CASES: dict[str, tuple[Callable[[], Any], str, Callable[..., None], int]] = {
    # model, last attention, how its vectors are read, prefix tokens
    "CLIP": (of_encoder("CLIP"), "vision_model.encoder.layers.2.self_attn", watch_projections, 1),
    "SigLIP": (of_encoder("SigLIP"), "vision_model.head.attention", watch_multi_head, 0),
    "timm": (of_classifier(fused_vit), "blocks.2.attn", watch_timm, 1),
    "nn.TransformerEncoder": (
        of_classifier(lambda: Encoder(True, True)), "encoder.layers.2.self_attn", watch_multi_head, 1,
    ),
    "attention pooling": (of_classifier(attention_pooling), "vision.head.attention", watch_multi_head, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_maps_are_those_of_the_paper(name: str) -> None:
    make, layer, watch, prefix = CASES[name]
    model, engine, target, score = make()
    ours = engine.explain(IMAGES, "grad-eclip", target)["grad-eclip"].raw
    reference, seen = copy.deepcopy(model).double(), dict[str, Tensor]()
    attention: Any = reference.get_submodule(layer)
    watch(attention, seen)
    attention.train()  # off its fast path; dropout is zero in these models
    total = score(reference, IMAGES.double()).sum()
    weight = attention.out_proj.weight if watch is watch_multi_head else None
    expected = replica(total, seen, weight, prefix)
    assert (expected > 0).any(1).any(1).all()
    torch.testing.assert_close(ours.double(), expected, rtol=1e-3, atol=1e-5 * float(expected.max()))


@pytest.mark.parametrize("name", ["CLIP", "SigLIP", "open_clip"])
def test_it_is_scored_by_metrics(name: str) -> None:
    _, engine, target, _ = of_encoder(name)()
    maps = engine.explain(IMAGES, "grad-eclip", target)
    [scores] = engine.evaluate(IMAGES, maps, ["deletion:steps=3", "max-sensitivity:samples=1"]).values()
    assert all(result.values.isfinite().all() for result in scores.values())


def test_explicit_attention_has_no_queries() -> None:
    model, _, target, _ = of_encoder("CLIP")()
    model.set_attn_implementation("eager")  # type: ignore[operator]
    engine = xai.Engine(model, tokenizer=DUAL_ENCODERS["CLIP"].tokenizer)
    with pytest.raises(UnsuitableError, match=r"set_attn_implementation\('sdpa'\)"):
        engine.explain(IMAGES, "grad-eclip", target)


@pytest.mark.parametrize(
    ("make", "message"),
    [(lambda: fused_vit(global_pool="avg"), "reads one token.*reads 16 tokens"), (SmallCNN, "grad-cam")],
)
def test_models_without_a_class_token(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(UnsuitableError, match=message):
        xai.Engine(settled(make())).explain(IMAGES, "grad-eclip")
