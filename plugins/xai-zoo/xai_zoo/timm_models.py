"""Models from timm."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xai_core as xai
from xai_core.plugin import CheckpointError, ModelSource, OptionError, Spec, UnknownModelError, Value, suggest
from xai_zoo.checkpoint import fit, read_state_dict, select
from xai_zoo.image_options import ImageOptions
from xai_zoo.imagenet import class_names
from xai_zoo.prefixes import StateDict
from xai_zoo.preprocess import Preprocess, Restore, to_grayscale
from xai_zoo.unknown_option import option_error

if TYPE_CHECKING:
    from torch import nn

_PRETRAINED = "pretrained"


class TimmModels(ModelSource):
    """timm's models: `timm:vit_small_patch16_224`, `timm:resnet18.a1_in1k`, `timm:resnet18,weights=FILE`.

    Options: `pretrained=false` or `weights=none` selects random weights, and `weights=FILE` loads a file. Other options
    are passed to timm, such as `num_classes`, `img_size`, `dynamic_img_size` and `in_chans` (1 or 3). `size`, `mean`
    and `std` replace the preprocessing of the model. Names of the hub, `hf-hub:USER/MODEL`, are supported too.
    """

    name = "timm"
    test_spec = "timm:vit_tiny_patch16_224,pretrained=false"

    def names(self) -> Sequence[str]:
        import timm

        return timm.list_models()

    def load(
        self,
        name: str | None,
        weights: Value | Path = _PRETRAINED,
        pretrained: bool = True,
        size: Value = None,
        mean: Value = None,
        std: Value = None,
        **options: Any,
    ) -> xai.LoadedModel:
        _check_name(name)
        assert name is not None
        images, passed = ImageOptions.read(size, mean, std), dict(options)
        if images.size is not None and _is_built_for_one_size(name):
            options.setdefault("img_size", images.size)
        state = read_state_dict(weights) if weights not in (None, _PRETRAINED) else None
        model = _build(name, pretrained and weights == _PRETRAINED, options)
        if state is not None:
            fit(model, _timm_names(model, select(model, state, weights)), weights)
        preprocess, restore = _transforms(model, options, images)
        source_options: dict[str, Any] = {} if weights == _PRETRAINED else {"weights": weights}
        source_options |= {} if pretrained else {"pretrained": False}
        return xai.LoadedModel(
            model=model.eval(),
            preprocess=preprocess,
            class_names=_class_names(model),
            restore=restore,
            spec=str(Spec(self.name, name, {**source_options, **images.as_written(), **passed})),
        )


def _is_built_for_one_size(name: str) -> bool:
    """Return whether the image size is an option of the model itself, as in most transformers."""
    import timm

    config = None if ":" in name else timm.get_pretrained_cfg(name)
    return bool(config and config.fixed_input_size)


def _check_name(name: str | None) -> None:
    import timm

    if name is not None and name.startswith(("hf-hub:", "hf_hub:", "local-dir:")):
        return
    architecture, _, tag = (name or "").partition(".")
    if not timm.is_model(architecture):
        raise UnknownModelError(f"timm has no model {name!r}; {suggest(architecture, timm.list_models())}")
    if tag and name not in (tagged := timm.list_pretrained(f"{architecture}.*")):
        raise UnknownModelError(
            f"timm has no weights with the tag {tag!r} for {architecture}; {suggest(name or '', tagged)}"
        )


def _build(name: str, pretrained: bool, options: dict[str, Any]) -> "nn.Module":
    import timm

    channels = options.get("in_chans", 3)
    if channels not in (1, 3):
        raise OptionError(
            f"timm: expected in_chans=1 or 3, got {channels}; for other images, pass a timm module to Engine"
        )
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except TypeError as error:
        raise option_error(f"timm:{name}", options, error) from error
    except Exception as error:
        if pretrained or ":" in name:
            raise CheckpointError(
                f"timm could not load the pretrained {name} ({error}); pass weights=FILE with a local file, or"
                " pretrained=false for random weights"
            ) from error
        raise option_error(f"timm:{name}", options, error) from error


def _timm_names(model: "nn.Module", state: StateDict) -> StateDict:
    """Convert a checkpoint as timm does: rename the authors' entries, or resize a position grid."""
    own = model.state_dict()
    convert = getattr(inspect.getmodule(type(model)), "checkpoint_filter_fn", None)
    if convert is None or {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in own.items()}:
        return state
    try:
        return convert(dict(state), model)
    except Exception:  # it expects entries that may be missing, which `fit` reports
        return state


def _transforms(model: "nn.Module", options: dict[str, Any], images: ImageOptions) -> tuple[Preprocess, Restore]:
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
    channels, height, width = config["input_size"]
    channels = options.get("in_chans", channels)
    size = images.size or options.get("img_size") or (height, width)
    mean, std = config["mean"], config["std"]
    if channels != len(mean):
        mean, std = (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
    mean, std = images.normalization(mean, std)
    input_size = (channels, *((size, size) if isinstance(size, int) else size))
    transform = create_transform(**{**config, "input_size": input_size, "mean": mean, "std": std}, is_training=False)
    return Preprocess(to_grayscale(transform) if channels == 1 else transform), Restore(tuple(mean), tuple(std))


def _class_names(model: "nn.Module") -> Sequence[str] | None:
    from timm.data.imagenet_info import infer_imagenet_subset

    classes = getattr(model, "num_classes", 0)
    names: Sequence[str] | None = getattr(model, "pretrained_cfg", {}).get("label_names")
    if names is None and classes and (subset := infer_imagenet_subset(model)):
        names = class_names(subset)
    return names if names is not None and len(names) == classes else None
