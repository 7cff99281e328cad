"""What captum's attributions share."""

import contextlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_captum.channels import checked, over_channels
from xai_captum.process import seeded
from xai_core.plugin import Baseline, ModelScorer, NotConnectedError, SharedModel, baseline_images, wide


@runtime_checkable
class Model(Protocol):
    """What captum calls: images [N,C,H,W], and to which image of the batch each belongs [N], to the target's scores."""

    @property
    def block(self) -> int:
        """How many images should go through it at once."""

    def __call__(self, images: Float[Tensor, "N C H W"], of: Int[Tensor, " N"]) -> Float[Tensor, " N"]: ...


M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class Part:
    """Some images of a batch, as captum is given them.

    Attributes
    ----------
    images
        [N,C,H,W], float32 or better; a leaf that requires a gradient.
    baselines
        [N,C,H,W], the image of each that shows nothing, where the method compares with one.
    of
        [N], to which image of the batch each belongs; captum repeats it as it repeats them.
    """

    images: Float[Tensor, "N C H W"]
    baselines: Float[Tensor, "N C H W"]
    of: Int[Tensor, " N"]


class Attribution(xai.Explainer, Generic[M]):
    """What captum attributes to every pixel and channel, reduced to one number a place.

    captum computes, in parts of the batch that the engine's memory budget holds.

    Parameters
    ----------
    channels
        How channels are reduced: see `xai_captum.channels.over_channels`.
    """

    at_least: ClassVar[int] = 1
    """How many variants of an image captum puts through the model together, whatever the memory."""
    alone: ClassVar[bool] = False
    """Whether captum is given one image at a time, so that its scores are the same bits whatever the batch."""
    baselines: Baseline = "zero"
    seed: int | None = None
    """Seed of what captum draws, where it draws: the same for every image, each of which it is then given alone."""

    def __init__(self, channels: str = "positive") -> None:
        self.channels = checked(channels)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Nothing of the pass: captum makes its own."""
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Attribute part by part, and reduce channels."""
        with torch.inference_mode(False):
            images = wide(captured.images).clone()  # no inference tensor
            of = torch.arange(len(images), device=images.device)
            model = self.model(captured)
            alone = self.alone or self.seed is not None
            size = 1 if alone else max(1, model.block // self.at_least)
            baselines = baseline_images(self.baselines, images)
            made = []
            for start in range(0, len(images), size):
                some = slice(start, start + size)
                part = Part(images[some].requires_grad_(), baselines[some], of[some])
                with contextlib.nullcontext() if self.seed is None else seeded(self.seed, images.device):
                    made.append(self.attribute(model, part, captured.adapter))
            return over_channels(torch.cat(made).detach(), self.channels)

    @abstractmethod
    def model(self, captured: xai.Captured) -> M:
        """What captum runs."""

    @abstractmethod
    def attribute(self, model: M, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "N C h w"]:
        """Give what captum gives for some images."""


class Differentiated(Attribution[SharedModel]):
    """An attribution for which captum differentiates through a twin of the model, and may place hooks on it."""

    def model(self, captured: xai.Captured) -> SharedModel:
        """Make a twin, which takes the hooks."""
        return captured.shared_model()

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Attribute, and say what to do where the score has no gradient at the images."""
        try:
            return super().explain(captured)
        except RuntimeError as error:
            if "have been used in the graph" in str(error) or "does not require grad" in str(error):
                raise NotConnectedError(
                    "the target's score has no gradient at the images: the model cuts the graph (no_grad, detach); use "
                    "feature-ablation, or another method that masks the image"
                ) from error
            raise


@dataclass(frozen=True)
class Scored:
    """The engine's scores of masked images, for captum to call."""

    score: ModelScorer
    dtype: torch.dtype

    @property
    def block(self) -> int:
        """How many images go through the model at once."""
        return self.score.block

    def __call__(self, images: Float[Tensor, "N C H W"], of: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Score images in the type that the model takes."""
        return self.score(images.to(self.dtype), of)


class Perturbed(Attribution[Scored]):
    """An attribution for which captum needs nothing but scores of masked images: any model will do.

    Of these it takes small differences. Blocks are filled by the variants of one image.
    """

    alone = True

    def model(self, captured: xai.Captured) -> Scored:
        """Score by the engine, in its blocks, compiled where the model is."""
        return Scored(captured.model_score, captured.images.dtype)
