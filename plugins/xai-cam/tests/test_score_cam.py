"""Score-CAM against its authors' definition, one channel at a time in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from xai_core.errors import OptionError


def replica(
    model: nn.Module, image: Tensor, activation: Tensor, logit: bool = False, channel_softmax: bool = False
) -> Tensor:
    """The loop of the authors' code over the channels of one image, in float64: the map at the layer's size."""
    target = model(image[None]).argmax().item()
    weights, kept = [], []
    for channel in activation:
        mask = interpolate(channel[None, None], image.shape[1:], mode="bilinear", align_corners=False)[0, 0]
        if channel.max() == channel.min():
            continue
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        scores = model((image * mask)[None])
        weights.append((scores if logit else scores.softmax(1))[0, target])
        kept.append(channel)
    weight = torch.stack(weights)
    weight = weight.softmax(0) if channel_softmax else weight
    return (weight[:, None, None] * torch.stack(kept)).sum(0).relu()


@pytest.fixture
def cnn() -> nn.Module:
    """A CNN of which some channels are dead for every image, and some for one."""
    model = settled(SmallCNN())
    with torch.no_grad():
        model.last[1].bias[:3] = -100
        model.last[1].bias[3] = -1.5
    return model


READINGS: list[dict[str, Any]] = [
    {},
    {"score": "logit"},
    {"channel_softmax": True},
    {"score": "logit", "channel_softmax": True},
]


@torch.no_grad()
@pytest.mark.parametrize("options", READINGS)
def test_equals_its_replica(cnn: nn.Module, images: Tensor, options: dict[str, Any]) -> None:
    for block in (1, 5, 64):
        engine = xai.Engine(cnn, block=block)
        ours = engine.explain(images, xai.create_explainer("score-cam", **options))["score-cam"]
        reference = cnn.double()
        for i, image in enumerate(images.double()):
            x = reference.stem(image[None])
            activation = reference.last((reference.body(x) + x).relu())[0]
            expected = replica(
                reference, image, activation, options.get("score") == "logit", options.get("channel_softmax", False)
            )
            torch.testing.assert_close(ours.raw[i].double(), expected, atol=1e-5, rtol=1e-5)
        cnn.float()


@torch.no_grad()
def test_equals_its_replica_on_tokens(images: Tensor) -> None:
    model = settled(fused_vit())
    ours = xai.Engine(model).explain(images, xai.create_explainer("score-cam", layer="blocks.1"))["score-cam"]
    reference = model.double()
    tokens = []
    handle = reference.blocks[1].register_forward_hook(lambda _, __, output: tokens.append(output))
    reference(images.double())
    handle.remove()
    for i, image in enumerate(images.double()):
        activation = tokens[0][i, 1:].T.unflatten(1, (4, 4))
        torch.testing.assert_close(ours.raw[i].double(), replica(reference, image, activation), atol=1e-5, rtol=1e-5)


def test_flat_channels_are_not_scored(cnn: nn.Module, images: Tensor) -> None:
    seen = []
    engine = xai.Engine(cnn, block=4)
    engine.adapter(images)
    handle = cnn.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    engine.explain(images, "score-cam")
    handle.remove()
    x = cnn.stem(images)
    activation = cnn.last((cnn.body(x) + x).relu())
    alive = int((activation.amax((2, 3)) > activation.amin((2, 3))).sum())
    assert alive < activation.shape[0] * 9
    assert seen[0] == 3
    assert sum(seen[1:]) == alive
    assert max(seen[1:]) == 4


def test_a_layer_of_flat_channels_gives_an_empty_map(images: Tensor) -> None:
    model = settled(SmallCNN())
    with torch.no_grad():
        model.last[1].bias.fill_(-100)
    for options in READINGS:
        with pytest.warns(UserWarning, match="score-cam found no evidence"):
            ours = xai.Engine(model).explain(images, xai.create_explainer("score-cam", **options))["score-cam"]
        assert ours.constant.all()
        assert not ours.values.any()


def test_a_target_that_is_a_callable(cnn: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(cnn)
    by_callable = engine.explain(images, "score-cam", target=lambda output: output.softmax(1)[:, 2])["score-cam"]
    by_class = engine.explain(images, "score-cam", target=2)["score-cam"]
    torch.testing.assert_close(by_callable.values, by_class.values, atol=1e-5, rtol=0)


def test_bad_options() -> None:
    with pytest.raises(OptionError, match="one of probability, logit"):
        xai.create_explainer("score-cam", score="softmax")
