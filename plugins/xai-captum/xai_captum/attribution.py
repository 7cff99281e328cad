"""Base classes of explainers that run captum's attribution methods, or differentiate the model like them."""

import contextlib
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_captum.global_state import seeded
from xai_core.plugin import (
    CHANNELS,
    Baseline,
    ModelScorer,
    NotConnectedError,
    SharedModel,
    at_least_float32,
    baseline_images,
    check_choice,
    out_of_memory,
    reduce_channels,
)


@runtime_checkable
class CaptumModel(Protocol):
    """The model in the form that captum calls.

    It returns the target's scores [N] of images. For each image, `of` contains the index of its original in
    the batch.
    """

    @property
    def block(self) -> int:
        """Number of images that captum should pass in one call."""

    def __call__(self, images: Float[Tensor, "N C *size"], of: Int[Tensor, " N"]) -> Float[Tensor, " N"]: ...


M = TypeVar("M", bound=CaptumModel)


@dataclass(frozen=True)
class ImageBlock:
    """Images of a batch that are passed to captum together.

    Attributes
    ----------
    images
        [N,C,H,W] or [N,C,D,H,W], float32 or float64, a leaf that requires a gradient.
    baselines
        The baseline of each image, of the same shape, for methods that compare the image with a baseline.
    indices
        [N], the index of each image in the batch. captum repeats it together with the image.
    """

    images: Float[Tensor, "N C *size"]
    baselines: Float[Tensor, "N C *size"]
    indices: Int[Tensor, " N"]


class Attribution(xai.Explainer, Generic[M]):
    """An attribution method of captum, with the channels reduced to one number per pixel.

    captum receives blocks of the batch that fit into the engine's memory budget.

    Parameters
    ----------
    channels
        How the channels are reduced: `sum`, `positive`, `abs`, `max` or `norm`. See
        `xai_core.plugin.reduce_channels`.
    """

    volumes = True
    variants: ClassVar[int] = 1
    """Number of variants of an image that captum always passes through the model together."""
    one_by_one: ClassVar[bool] = False
    """Whether captum receives one image at a time, so that its scores are bitwise independent of the batch."""
    baselines: Baseline = "zero"
    seed: int | None = None
    """Random seed, for methods that draw random numbers. Each image is then explained separately with this seed."""

    def __init__(self, channels: str = "positive") -> None:
        self.channels = check_choice("channels", channels, CHANNELS)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing: captum runs its own passes."""
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *grid"]:
        """Attribute block by block and reduce the channels."""
        with torch.inference_mode(False):
            images = at_least_float32(captured.images).clone()  # a copy that is not an inference tensor
            indices = torch.arange(len(images), device=images.device)
            model = self.model(captured)
            one_by_one = self.one_by_one or self.seed is not None
            size = 1 if one_by_one else max(1, model.block // self.variants)
            baselines = self.baseline(images)
            attributions = []
            for start in range(0, len(images), size):
                part = slice(start, start + size)
                block = ImageBlock(images[part].requires_grad_(), baselines[part], indices[part])
                with contextlib.nullcontext() if self.seed is None else seeded(self.seed, images.device):
                    attributions.append(self.attribute(model, block, captured.adapter))
            return reduce_channels(torch.cat(attributions).detach(), self.channels)

    def baseline(self, images: Float[Tensor, "B C *size"]) -> Float[Tensor, "B C *size"]:
        """Return the baseline of each image."""
        return baseline_images(self.baselines, images)

    @abstractmethod
    def model(self, captured: xai.Captured) -> M:
        """Return the model that captum runs."""

    @abstractmethod
    def attribute(self, model: M, block: ImageBlock, adapter: xai.ModelAdapter) -> Float[Tensor, "N C *grid"]:
        """Return captum's attribution of a block of images."""


class GradientAttribution(Attribution[SharedModel]):
    """An attribution method that differentiates through the model and may register hooks on it.

    captum receives a copy of the model that shares its parameters.
    """

    def model(self, captured: xai.Captured) -> SharedModel:
        """Return a shared-parameter copy, on which captum may register hooks."""
        return captured.shared_model()

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *grid"]:
        """Attribute block by block, and suggest other methods if the score has no image gradient."""
        try:
            return super().explain(captured)
        except Exception as error:
            if isinstance(error, xai.XAIError) or out_of_memory(error) or has_image_gradient(captured):
                raise
            raise NotConnectedError(
                "the target's score has no gradient with respect to the images, because the model cuts the graph "
                "(no_grad, detach, int8 layers). Use feature-ablation, or another method that masks the image"
            ) from error


def has_image_gradient(captured: xai.Captured) -> bool:
    """Return whether the target's score has a gradient with respect to the first image."""
    with torch.inference_mode(False), torch.enable_grad():
        image = at_least_float32(captured.images[:1]).clone().requires_grad_()
        try:
            score = captured.shared_model()(image, torch.zeros(1, dtype=torch.int64, device=image.device))
            (gradient,) = torch.autograd.grad(score, image, torch.ones_like(score), allow_unused=True)
        except RuntimeError:
            return False
    return gradient is not None


@dataclass(frozen=True)
class CaptumScorer:
    """The engine's scorer of masked images, in the form that captum calls."""

    model_score: ModelScorer
    dtype: torch.dtype

    @property
    def block(self) -> int:
        """Number of images in one forward pass."""
        return self.model_score.block

    def __call__(self, images: Float[Tensor, "N C *size"], of: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Score images, converted to the dtype of the model's input."""
        return self.model_score(images.to(self.dtype), of)


class PerturbationAttribution(Attribution[CaptumScorer]):
    """An attribution method that uses scores of masked images only, and therefore supports any model.

    It computes small differences of these scores. Each block contains the variants of one image.
    """

    one_by_one = True

    def model(self, captured: xai.Captured) -> CaptumScorer:
        """Return the engine's scorer, which runs in blocks, and compiled if the model is compiled."""
        return CaptumScorer(captured.model_score, captured.images.dtype)
