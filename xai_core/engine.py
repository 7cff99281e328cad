"""The engine: explains images with one shared forward and backward pass, and scores the maps."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, overload

from torch import Tensor, nn

from xai_core.capture.attention_record import AttentionRecord, Rows
from xai_core.data.sources import LoadedModel
from xai_core.evaluation import Results, evaluate
from xai_core.explained_model import ExplainedModel
from xai_core.explainer import Explainer
from xai_core.explanation import BatchExplanation
from xai_core.inputs import Maps, accept_model
from xai_core.metric import Metric
from xai_core.model.adapter import ModelAdapter
from xai_core.model.dual_encoder import DualEncoder, Tokenizer
from xai_core.model.layouts import Layer
from xai_core.model.user_forward import UserForward, accept_forward, selecting
from xai_core.model_outputs import ModelOutputs
from xai_core.plugins.creation import create_explainer, create_metric
from xai_core.plugins.registry import Plugins, in_own_plugins, restricted
from xai_core.plugins.resolve import by_key
from xai_core.saliency import Saliency
from xai_core.saliency_maps import SaliencyMaps
from xai_core.several_inputs import Inputs, of_each
from xai_core.targets.target import TargetLike

if TYPE_CHECKING:
    from xai_core.web_app.launch import WebApp

Methods = str | Explainer | Iterable[str | Explainer] | Mapping[str, str | Explainer]
Metrics = str | Metric | Iterable[str | Metric] | Mapping[str, str | Metric]


class Engine(ModelOutputs):
    """Explains one model, and scores the explanations.

    The model stays unchanged: its mode, hooks, gradients and weights are the same after every call.

    Parameters
    ----------
    model
        Any `nn.Module` (compiled and `DataParallel` ones too), or a `LoadedModel`. It always runs in evaluation mode,
        regardless of its current mode.
    forward
        A function `forward(model, images) -> output` that calls the model, for models with other inputs.
        A third parameter `of` receives, for each row of `images`, the index of its image in the batch that is
        explained. It is an int64 tensor [N] on the device, and selects the side inputs of each row: `texts[of]`.
    tokenizer
        The tokenizer of a model that compares images with texts, such as CLIP or SigLIP. It is required by the target
        `Text`. Tokenizers and processors of transformers, and tokenizers of open_clip, are supported. A function from
        a list of texts to token ids, or to a dict of arguments of the text encoder, is also supported. Without
        `forward`, the engine then runs the image encoder alone. Default: the tokenizer of the `LoadedModel`, if it
        has one.
    output
        The part of the model's output that is explained: a key or an index, or several of them separated by dots.
        Targets receive this part alone. Default: the whole output, from which targets read the `logits`, or the only
        tensor with one row of scores per image.
    memory
        Bytes of device memory that a block of perturbed images may use. Default: 64 MiB on the CPU, where larger
        tensors are slow to allocate, and an eighth of the device's memory on a GPU.
    block
        Number of perturbed images in one forward pass. Default: as many as `memory` allows.
    plugins
        The only plugins in which this engine looks up names and adapters. Each is the name of an installed package,
        or a module or object with plugin hooks, such as an object in a notebook. Default: all installed plugins.
        Explainer and metric objects are not restricted.
    time_limit
        Seconds per image that one method, or one metric on one method's maps, may take. Default: no limit.

    Raises
    ------
    InputTypeError
        If the model is not a module, or `forward`, `output` or `tokenizer` has the wrong type. Also if `tokenizer` is
        passed and the model has no text encoder.
    PluginError
        If one of the plugins is not installed, cannot be loaded, or has no hooks.
    """

    def __init__(
        self,
        model: nn.Module | LoadedModel,
        *,
        forward: UserForward | None = None,
        tokenizer: Tokenizer | None = None,
        output: str | int | None = None,
        memory: int | None = None,
        block: int | None = None,
        plugins: Plugins | None = None,
        time_limit: float | None = None,
    ) -> None:
        self.model = accept_model(model)
        own_plugins = None if plugins is None else restricted(plugins)
        loaded = model if isinstance(model, LoadedModel) else None
        if tokenizer is None and loaded is not None:
            tokenizer = loaded.tokenizer
        encoder = None if tokenizer is None else DualEncoder(self.model, tokenizer)
        forward = accept_forward(encoder.embed_images if encoder is not None and forward is None else forward)
        explained = ExplainedModel(
            self.model,
            forward if output is None else selecting(forward, output),
            memory=memory,
            block=block,
            time_limit=time_limit,
            plugins=own_plugins,
            loaded=loaded,
        )
        super().__init__(explained, None if encoder is None else encoder.embed_texts)

    def __repr__(self) -> str:
        model, seconds = self._explained.bare, self._explained.time_limit
        device = next((tensor.device for tensor in model.parameters()), "no parameters")
        limit = "" if seconds is None else f", time_limit={seconds:g}"
        return f"Engine({type(model).__name__} on {device}{limit})"

    def _repr_html_(self) -> str:
        from xai_core.html import facts

        return facts(repr(self), {"class names": "not known" if self.class_names is None else len(self.class_names)})

    @overload
    def explain(
        self, /, images: Tensor, methods: Methods, target: TargetLike = None, *, costs: bool = False
    ) -> SaliencyMaps: ...

    @overload
    def explain(
        self, /, images: tuple[Tensor, ...], methods: Methods, target: TargetLike = None, *, costs: bool = False
    ) -> tuple[SaliencyMaps, ...]: ...

    @in_own_plugins
    def explain(
        self, images: Inputs, methods: Methods, target: TargetLike = None, *, costs: bool = False
    ) -> SaliencyMaps | tuple[SaliencyMaps, ...]:
        """Explain a batch with several methods, in one forward pass and at most one backward pass for all of them.

        Methods that need further passes, such as perturbation-based methods, run them in addition.

        Parameters
        ----------
        images
            [B,C,H,W], or volumes and clips [B,C,D,H,W], normalized as the model expects. They are moved to the model's
            device and converted to its type.
            If the model has several inputs, a tuple of all its inputs. Each image input is explained, while the other
            inputs stay fixed.
        methods
            A name, a spec or an explainer object. Several methods are a list of these, a comma-separated string, or a
            dict whose keys name the results.
        target
            Default: each image's predicted class. Otherwise a class id or name, a tensor of class ids, or a list of
            ids or names. The shape is [B], or [B,T] for T targets per image. A `Contrast`, `Region`, `Similarity`,
            `Text` or `Token` is also accepted, and so is a function from the model's output to [B] numbers.
        costs
            Whether to measure the cost of each method, as `Saliency.cost`. On CUDA this resets the device's statistics
            of peak memory.

        Returns
        -------
        SaliencyMaps
            A dict of a `Saliency` for each method. The key is the method's spec as it was passed, or the name of an
            object. If two objects share a name, the key is the spec. For T targets, the tensors are [B,T,...]. For a
            tuple of inputs, a tuple with such a dict for each image input.

        Raises
        ------
        XAIError
            If an input is invalid, or a method returns an invalid result. See `xai_core.errors`. Errors that the model,
            a target or a plugin raises are passed on, with a note that names the plugin.
        """
        explainers = by_key(methods, Explainer, create_explainer)
        target, each = self._known(target), list[SaliencyMaps]()
        for model, batch in self._inputs.of(images):  # a comprehension would be a frame of its own in warnings
            each.append(BatchExplanation(model, batch, explainers, target, costs).maps())
        return tuple(each) if isinstance(images, tuple) else each[0]

    @overload
    def attention(self, /, images: Tensor, rows: Rows = None, *, module: Layer | None = None) -> AttentionRecord: ...

    @overload
    def attention(
        self, /, images: tuple[Tensor, ...], rows: Rows = None, *, module: Layer | None = None
    ) -> tuple[AttentionRecord, ...]: ...

    @in_own_plugins
    def attention(
        self, images: Inputs, rows: Rows = None, *, module: Layer | None = None
    ) -> AttentionRecord | tuple[AttentionRecord, ...]:
        """Return the attention matrices of every layer that depends on the images, from one forward pass.

        Parameters
        ----------
        images
            As for `explain`.
        rows
            The indices of the query tokens whose rows are returned: None (all), an int, a slice, or a sequence of ints.
            Negative indices count from the end. Only these rows are computed (fused attention) and kept.
        module
            A module, by its name or as an object, such as a vision tower. Only attention in this module is returned.
            Default: the whole model.

        Returns
        -------
        AttentionRecord
            For a tuple of inputs, a tuple with the attention matrices of the layers that depend on each image input.

        Raises
        ------
        NoAttentionError
            If no attention that depends on the images is observed in the model, or in the module.
        LayerError
            If the model has no such module.
        UnsuitableError
            If the model runs different attention layers for this batch than for one image.
        RowError
            If a layer has no row with one of these indices.
        OptionError
            If `rows` has another type.
        """
        each = [model.attention(batch, rows, module) for model, batch in self._inputs.of(images)]
        return tuple(each) if isinstance(images, tuple) else each[0]

    @overload
    def evaluate(
        self, /, images: Tensor, maps: Maps, metrics: Metrics, masks: Tensor | None = None
    ) -> dict[str, Results]: ...

    @overload
    def evaluate(
        self, /, images: Tensor, maps: Saliency | Tensor, metrics: Metrics, masks: Tensor | None = None
    ) -> Results: ...

    @overload
    def evaluate(
        self, /, images: tuple[Tensor, ...], maps: tuple[Any, ...], metrics: Metrics, masks: Any = None
    ) -> tuple[Any, ...]: ...

    @in_own_plugins
    def evaluate(self, images: Inputs, maps: Any, metrics: Metrics, masks: Any = None) -> Any:
        """Score maps with several metrics, which share intermediate results.

        Parameters
        ----------
        images
            The images that were explained, or the tuple of inputs.
        maps
            The dict that `explain` returned, or one `Saliency` from it. A tensor [B,h,w] of any origin ([B,d,h,w] for
            volumes), alone or as a value of a dict, is scored for the predicted class. Maps that were saved and loaded
            are scored for their own target. For a tuple of inputs, a tuple with maps of each image input.
        metrics
            Names, specs or metric objects, one or several, like the `methods` of `explain`.
        masks
            [B,H,W] bool at the images' size ([B,D,H,W] for volumes), true inside the ground truth, for metrics that
            compare maps with it. For a tuple of inputs, a tuple with masks of each image input.

        Returns
        -------
        dict
            For one map, a dict of a `MetricResult` for each metric. For a dict of maps, a dict of such dicts for each
            method. Each map is scored for its own target. For a tuple of inputs, a tuple with such dicts.

        Raises
        ------
        XAIError
            If an input is invalid, or a metric returns an invalid result. See `xai_core.errors`. Errors that the model
            or a plugin raises are passed on, with a note that names the plugin.
        """
        by_name = by_key(metrics, Metric, create_metric)
        models = self._inputs.of(images)
        if not isinstance(images, tuple):
            return evaluate(*models[0], maps, by_name, masks)
        each, own = of_each(maps, len(models), "maps"), of_each(masks, len(models), "masks")
        return tuple(evaluate(*models[i], each[i], by_name, own[i]) for i in range(len(models)))

    @overload
    def adapter(self, /, images: Tensor, target: TargetLike = None) -> ModelAdapter: ...

    @overload
    def adapter(self, /, images: tuple[Tensor, ...], target: TargetLike = None) -> tuple[ModelAdapter, ...]: ...

    @in_own_plugins
    def adapter(self, images: Inputs, target: TargetLike = None) -> ModelAdapter | tuple[ModelAdapter, ...]:
        """Return the model adapter for images of this size. It is derived from one probe of the model and cached.

        A `target` that is a function, a `Similarity` or a `Text` may read another part of the output than the class
        scores. Then the default layer is a layer from which this part is computed. For a tuple of inputs, the result is
        a tuple with the adapter of each image input.
        """
        target = self._known(target)
        each = [model.accept(batch, target)[1] for model, batch in self._inputs.of(images)]
        return tuple(each) if isinstance(images, tuple) else each[0]

    def app(self) -> "WebApp":
        """Return a web app that explains photos with this engine, which `launch` starts. See `xai_core.app`."""
        from xai_core.web_app.launch import app

        return app(self)

    def _with_probes_of(self, other: "Engine") -> "Engine":
        """Share the probes of an engine for a model of the same structure. Return this engine."""
        self._explained.share_probes(other._explained)
        return self
