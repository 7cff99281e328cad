"""The Python examples of the documentation run, on small stand-ins for what is the reader's own."""

import functools
import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import transformers
from PIL import Image
from torch import Tensor, nn

import xai_core as xai
from support.b_cos_models import BCosCNN
from support.captioners import PROMPT, blip
from support.dual_encoders import DUAL_ENCODERS, word_tokenizer
from support.models import SmallCNN, settled
from support.paths import ROOT
from support.siamese import WithTable, pair

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
EXAMPLE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]*) -->\n)?```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE
)


class Network(nn.Module):
    """A residual network's names and classes, and little else."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 8, 8, 12, 16]
        for i, (given, made) in enumerate(itertools.pairwise(widths), 1):
            convolution = nn.Conv2d(given, made, 3, 2 - i % 2, 1)
            self.add_module(f"layer{i}", nn.Sequential(convolution, nn.BatchNorm2d(made), nn.ReLU()))
        self.fc = nn.Linear(widths[-1], 1000)

    def features(self, images: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(self.layer1(images))))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.features(images).mean((2, 3)))


class Encoder(Network):
    """Embeddings [B,16]."""

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images).mean((2, 3))


class Segmentation(nn.Module):
    """Class scores [B,1000,h,w], of which 15 is the highest everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Network()
        self.classifier = nn.Conv2d(16, 1000, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        scores = self.classifier(self.backbone.features(images))
        return {"out": scores + 100 * (torch.arange(1000) == 15).view(1, -1, 1, 1)}


class TwoHeaded(Network):
    """Class scores of two kinds."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        scores = super().forward(images)
        return {"species": scores, "age": scores[:, :3]}


class Detector(Network):
    """Two boxes for each image."""

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:  # type: ignore[override]
        scores = super().forward(images).softmax(1)[:, 16:18]
        boxes = torch.tensor([[2.0, 2, 20, 20], [8, 8, 30, 30]])
        return [{"boxes": boxes, "labels": torch.tensor([16, 17]), "scores": each} for each in scores]


class Answering(Network):
    """Class scores that depend on a question."""

    def forward(self, images: Tensor, question: Tensor) -> Tensor:
        return super().forward(images) * question


class MultiView(Network):
    """Class scores of several views [B,V,C,H,W]."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.amax(1))


def square() -> Tensor:
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 2:6] = True
    return mask


OWN: dict[str, Callable[[], Any]] = {
    "model": lambda: settled(Network()),
    "masks": lambda: square().repeat_interleave(4, 0).repeat_interleave(4, 1).expand(3, -1, -1),
    "segmentation_model": lambda: settled(Segmentation()),
    "mask": square,
    "image_encoder": lambda: settled(Encoder()),
    "vector": lambda: torch.randn(16),
    "two_headed_model": lambda: settled(TwoHeaded()),
    "detector": lambda: settled(Detector()),
    "question_answering_model": lambda: settled(Answering()),
    "questions": lambda: torch.rand(3, 1000),
    "clip": lambda: DUAL_ENCODERS["CLIP"].build(),
    "tokenizer": word_tokenizer,
    "captioner": blip,
    "prompt": lambda: PROMPT,
    "engine_of_table": lambda: xai.Engine(pair(WithTable, SmallCNN())),
    "table": lambda: torch.rand(3, 3),
    "multi_view_model": lambda: settled(MultiView()),
    "b_cos_network": lambda: settled(BCosCNN()),
    "captions": lambda: ["a red star", "a blue square", "the star"],
}
"""What pages speak of as the reader's own, besides `images`."""
SIZES = {"docs/metrics/faithfulness-correlation.md": 112, "docs/metrics/sensitivity-n.md": 80}
"""Pages whose images have more than 32 rows and columns."""
ELSEWHERE = {"docs/plugins/tutorial.md": "test_tutorial.py"}
"""Pages whose examples need more than names, and the tests that run them."""
SLOW = {"README.md": pytest.mark.slow}


def to_run(page: str) -> list[re.Match[str]]:
    return [example for example in EXAMPLE.finditer((ROOT / page).read_text()) if not example["reason"]]


RUN = [page for page in PAGES if to_run(page) and page not in ELSEWHERE]


@functools.cache
def load_random(spec: str, load: Callable[..., xai.LoadedModel] = xai.load_model) -> xai.LoadedModel:
    instead: dict[str, dict[str, Any]] = {
        "timm": {"pretrained": False, "img_size": 32, "depth": 3, "embed_dim": 48, "num_heads": 4},
        "torchvision": {"weights": None},
    }
    loaded = load(spec, **instead.get(spec.partition(":")[0], {}))
    if spec != "efficientnet-lite0":
        return loaded
    return replace(loaded, preprocess=lambda image: nn.functional.interpolate(loaded.preprocess(image)[None], 64)[0])


@pytest.fixture
def reader(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return the names that an example is run with, in a folder with a photo.

    No weights are downloaded, and vision transformers and images of a trained model are small.
    """
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 48), "teal").save("photo.jpg")
    monkeypatch.setattr(xai, "load_model", load_random)
    monkeypatch.setattr(transformers.CLIPModel, "from_pretrained", lambda name: DUAL_ENCODERS["CLIP"].build())
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda name: word_tokenizer())
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    processor = transformers.CLIPImageProcessor(**size)
    monkeypatch.setattr(transformers.AutoImageProcessor, "from_pretrained", lambda name: processor)
    monkeypatch.setattr(torchvision.models, "resnet50", lambda weights: settled(Network()))
    side = SIZES.get(page, 32)
    return {"images": torch.randn(3, 3, side, side), **{name: make() for name, make in OWN.items()}}


@pytest.mark.parametrize("page", [pytest.param(page, marks=SLOW.get(page, ())) for page in RUN])
@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_the_examples_of_a_page_run_one_after_the_other(page: str, reader: dict[str, Any]) -> None:
    for example in to_run(page):
        lines_before = example.string.count("\n", 0, example.start("code"))
        exec(compile("\n" * lines_before + example["code"], page, "exec"), reader)


@pytest.mark.parametrize("page", PAGES)
def test_an_example_that_is_not_run_has_its_reason(page: str) -> None:
    text = (ROOT / page).read_text()
    for mark in re.finditer(r"<!-- *not.run\b.*?-->", text, re.DOTALL | re.IGNORECASE):
        assert re.fullmatch(r"<!-- not run: needs \S.{5,} -->", mark[0]), f"{page}: {mark[0]} must say what it needs"
        assert text[mark.end() :].startswith("\n```python\n"), f"{page}: {mark[0]} stands right before an example"
    for example in EXAMPLE.finditer(text):
        compile(example["code"], page, "exec")


@pytest.mark.parametrize("page", [page for page in PAGES if page not in ELSEWHERE])
def test_no_python_is_overlooked(page: str) -> None:
    text = (ROOT / page).read_text()
    fences = re.findall(r"^[ >]*(?:```|~~~) *\{?\.?py.*$", text, re.MULTILINE | re.IGNORECASE)
    assert len(fences) == len(EXAMPLE.findall(text)), (
        f"{page}: write ```python, at the beginning of a line, not {fences}"
    )
