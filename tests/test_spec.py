"""Specs: read, written and split."""

import pytest
import torch

import xai_core as xai
from xai_core.configurable import Configurable
from xai_core.errors import SpecError
from xai_core.spec import Spec, parse, split


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grad-cam", Spec("grad-cam")),
        ("grad-cam:layer=layer3", Spec("grad-cam", None, {"layer": "layer3"})),
        ("timm:vit_tiny_patch16_224", Spec("timm", "vit_tiny_patch16_224")),
        ("timm:a.b_c,pretrained=false,num_classes=7", Spec("timm", "a.b_c", {"pretrained": False, "num_classes": 7})),
        ("folder:some dir/photos", Spec("folder", "some dir/photos")),
        ("x:a=none,b=True,c=1.5,d=-2,e=a-b", Spec("x", None, {"a": None, "b": True, "c": 1.5, "d": -2, "e": "a-b"})),
        ("score-cam:channel-softmax=true", Spec("score-cam", None, {"channel_softmax": True})),
        ("torchvision:resnet18,weights=C:/a=b.pth", Spec("torchvision", "resnet18", {"weights": "C:/a=b.pth"})),
    ],
)  # fmt: skip
def test_parse_and_write(text: str, expected: Spec) -> None:
    assert parse(text) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["", ":", "a:,x=1", "a:x=1,y", "a:x=1,,y=2", "a:=3"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(SpecError):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grad-cam,rollout", ["grad-cam", "rollout"]),
        (
            "score-cam:score=logit,channel_softmax=true,rollout",
            ["score-cam:score=logit,channel_softmax=true", "rollout"],
        ),
        ("score-cam,score=logit, grad-cam", ["score-cam:score=logit", "grad-cam"]),
        ("a:x=1,b:y=2", ["a:x=1", "b:y=2"]),
        ("", []),
    ],
)
def test_split(text: str, expected: list[str]) -> None:
    assert split(text) == expected


class Tuned(Configurable):
    name = "tuned"

    def __init__(self, sigma: object = 0.25, kind: object = "".join(["so", "ft"]), seed: object = 1000) -> None:
        self.sigma, self.kind, self.seed = sigma, kind, seed


@pytest.mark.parametrize(
    ("options", "spec"),
    [
        ({"sigma": float("0.25"), "kind": "".join(["s", "oft"]), "seed": int("1000")}, "tuned"),
        ({"sigma": 0.5}, "tuned:sigma=0.5"),
        ({"seed": True}, "tuned:seed=true"),
        ({"kind": None}, "tuned:kind=none"),
        ({"sigma": torch.tensor([0.25])}, "tuned:sigma=tensor([0.2500])"),
    ],
)
def test_an_option_that_is_as_by_default_is_not_said(options: dict[str, object], spec: str) -> None:
    assert Tuned(**options).spec == spec


def test_no_option_of_what_is_installed_is_said_for_its_default() -> None:
    assert xai.create_explainer("center:sigma=0.25").spec == "center"
    assert xai.create_metric("deletion:score=probability,ties=stable").spec == "deletion"
