"""Specs: parsing, writing and splitting."""

import random
import re
import string
from pathlib import Path

import pytest
import torch

import xai_core as xai
from xai_core.configurable import Configurable
from xai_core.errors import SpecError
from xai_core.spec import Spec, Value, parse, split, suggest


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
        ('folder:"/tmp/a,b"', Spec("folder", "/tmp/a,b")),
        ('folder:"a=b (1",split="test,val"', Spec("folder", "a=b (1", {"split": "test,val"})),
        ('folder: "C:\\a" , x = "3"', Spec("folder", "C:\\a", {"x": "3"})),
        ('a:x="say ""hi"", twice",y=""', Spec("a", None, {"x": 'say "hi", twice', "y": ""})),
        ('a:x=5"6,y=none,z="None"', Spec("a", None, {"x": '5"6', "y": None, "z": "None"})),
        ('"a, b:c/(d.py":build,x=1', Spec("a, b:c/(d.py", "build", {"x": 1})),
        ('"a=b/c.py:build",x=1', Spec("a=b/c.py:build", None, {"x": 1})),
        ('"C:\\a ""b"".py"', Spec('C:\\a "b".py')),
        ("models/a b.py:build,x=1", Spec("models/a b.py", "build", {"x": 1})),
        ("a,x=1,y=2", Spec("a", None, {"x": 1, "y": 2})),
        ("a:x=f(1,2),y=2", Spec("a", None, {"x": "f(1,2)", "y": 2})),
        ('fused(a:x="),",b):how=max', Spec("fused", None, {"how": "max"}, ('a:x="),"', "b"))),
    ],
)  # fmt: skip
def test_parse_and_write(text: str, expected: Spec) -> None:
    assert parse(text) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no name before the colon"),
        (":", "no name before the colon"),
        ("a:,x=1", "is not `option=value`"),
        ("a:x=1,y", "'y' in 'a:x=1,y' is not `option=value`"),
        ("a:x=1,,y=2", "is not `option=value`"),
        ("a:=3", "is not `option=value`"),
        ("folder:/tmp/a,b", 'double quotes around text with commas, such as `folder:"a,b"`'),
        (",", "expected one spec"),
        ("a:x=1,x=2", "sets the option 'x' twice"),
        ("grad-cam,rollout", "expected one spec, got the list"),
        ('folder:"a', "quote is not closed"),
        ('folder:"a"b', "after the closing quote"),
        ('"a', "expected a closing quote"),
        ('"a"b', "expected a closing quote, then `:option=value`"),
        ('"a,b",c', "expected one spec, got the list"),
        ("smoothed(a", "parenthesis is not closed"),
        ("smoothed(a)b", "after the parenthesis"),
    ],
)  # fmt: skip
def test_a_text_that_is_not_a_spec(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        parse(text)


def random_spec(random: random.Random, depth: int = 2) -> Spec:
    """A spec whose names and values contain the characters that the grammar treats specially."""
    alphabet = string.ascii_letters + string.digits + " ,;:=()\"'+-_./" + "ä\n"

    def text() -> str:
        return "".join(random.choices(alphabet, k=random.randrange(6)))

    def value() -> Value:
        kinds = [text(), random.choice(["none", "TRUE", "3", "1e5", "nan", "inf"]), random.randrange(-99, 99)]
        return random.choice([*kinds, random.uniform(-1, 1), random.choice([True, False, None, 1e300])])

    head = "".join(random.choices(string.ascii_lowercase + "-+", k=4))
    options = {f"option_{i}": value() for i in range(random.randrange(4))}
    nested = [str(random_spec(random, depth - 1)) for _ in range(random.randrange(3))] if depth else []
    return Spec(head, random.choice([None, text()]), options, tuple(nested))


def test_a_spec_that_is_written_is_read_back_as_it_was() -> None:
    generator = random.Random(0)
    for _ in range(3000):
        spec = random_spec(generator)
        assert parse(str(spec)) == spec
        assert {type(value) for value in parse(str(spec)).options.values()} == set(map(type, spec.options.values()))


def test_a_list_of_specs_that_is_written_is_split_as_it_was() -> None:
    generator = random.Random(1)
    for _ in range(1000):
        specs = [str(random_spec(generator)) for _ in range(generator.randrange(1, 4))]
        assert split(",".join(specs)) == specs


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
        ("a,b(c,d),e", ["a", "b(c,d)", "e"]),
        ("b(c:x=1,y=2,d),z=3,e", ["b(c:x=1,y=2,d):z=3", "e"]),
        ('folder:"/a,b):",split=val,photos', ['folder:"/a,b):",split=val', "photos"]),
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
        ({"kind": "3"}, 'tuned:kind="3"'),
        ({"kind": ["a", "3"]}, "tuned:kind=a+3"),
        ({"kind": Path("/a,b")}, 'tuned:kind="/a,b"'),
    ],
)
def test_an_option_that_is_as_by_default_is_not_said(options: dict[str, object], spec: str) -> None:
    assert Tuned(**options).spec == spec


def test_no_option_of_what_is_installed_is_said_for_its_default() -> None:
    assert xai.create_explainer("center:sigma=0.25").spec == "center"
    assert xai.create_metric("deletion:score=probability,ties=stable").spec == "deletion"


class Composite(Configurable):
    name = "composite"

    def __init__(self, explainers: object = ()) -> None:
        self.explainers = explainers


def test_the_spec_of_a_composite_method_has_the_specs_that_it_consists_of() -> None:
    assert Composite(["a:x=1,y=2", Tuned(kind="b,c")]).spec == 'composite(a:x=1,y=2,tuned:kind="b,c")'


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GradCAM", "did you mean 'grad-cam'?"),
        ("grad_cam", "did you mean 'grad-cam'?"),
        ("Grad-CAM", "did you mean 'grad-cam'?"),
        ("GradCAM++", "did you mean 'grad-cam++'?"),
        ("gradcm", "did you mean 'grad-cam' or 'grad-cam++'?"),
        ("xyz", "known: deletion, grad-cam, grad-cam++"),
    ],
)
def test_a_wrong_name_gets_a_suggestion_whatever_its_case_and_hyphens(name: str, message: str) -> None:
    assert suggest(name, ["grad-cam", "grad-cam++", "deletion"]) == message
