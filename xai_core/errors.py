"""Every error that xai-core raises on purpose, under one base class.

Each says what was expected and what to do. Most are also the built-in error that a caller would guess
(`ValueError`, `TypeError`, `LookupError`), so that existing handlers keep working.
"""


class XAIError(Exception):
    """Base of all errors of xai-core and its plugins."""


class InputTypeError(XAIError, TypeError):
    """The images are not a floating-point tensor."""


class InputShapeError(XAIError, ValueError):
    """The images do not have the shape [B, C, H, W] that the model takes."""


class EmptyBatchError(XAIError, ValueError):
    """The batch holds no image."""


class NonFiniteInputError(XAIError, ValueError):
    """An image holds NaN or infinity."""


class ModelOutputError(XAIError, ValueError):
    """The model's output is not one that can be explained as it is."""


class NonFiniteOutputError(XAIError, ValueError):
    """The model gave NaN or infinity."""


class NonFiniteMapError(XAIError, ValueError):
    """A map holds NaN or infinity."""


class MapShapeError(XAIError, ValueError):
    """A map does not have the shape that was promised."""


class TargetError(XAIError, ValueError):
    """The target is not a class of the model, or not of a kind that can be explained."""


class LayerError(XAIError, LookupError):
    """The model has no such layer, or the layer does not give spatial features."""


class NotConnectedError(XAIError, ValueError):
    """The target's score does not depend on the layer, so that there is no gradient."""


class NotCapturedError(XAIError, LookupError):
    """An explainer asked for something that its `needs` did not declare."""


class UnsuitableError(XAIError, ValueError):
    """The method is not defined for this model."""


class NoAttentionError(UnsuitableError):
    """The method needs attention, and this model has none that can be seen."""


class RowError(XAIError, IndexError):
    """An attention layer has no such row."""


class NoGroundTruthError(UnsuitableError):
    """Where the truth is needs to be known, and it was not given."""


class CroppedGroundTruthError(NoGroundTruthError):
    """Nothing of the truth is left in what the model takes of the image."""


class SpecError(XAIError, ValueError):
    """A spec such as `source:name,option=value` cannot be read."""


class OptionError(XAIError, TypeError):
    """A method, metric or source does not take this option or value."""


class UnknownExplainerError(XAIError, LookupError):
    """No installed plugin gives an explainer of this name."""


class UnknownMetricError(XAIError, LookupError):
    """No installed plugin gives a metric of this name."""


class UnknownModelError(XAIError, LookupError):
    """No installed plugin gives this model."""


class UnknownDatasetError(XAIError, LookupError):
    """No installed plugin gives this data set."""


class FileError(XAIError, OSError):
    """A file or folder is missing, or would be overwritten."""


class ImageFileError(FileError):
    """An image file is broken, truncated or not an image."""


class CheckpointError(XAIError, ValueError):
    """A checkpoint cannot be read, or does not fit the model."""


class DeviceError(XAIError, RuntimeError):
    """The GPU itself failed; nothing further can be computed in this process."""


class PluginError(XAIError):
    """A plugin breaks the rules: a duplicate name, or a hook that does not exist."""


class SideEffectError(PluginError):
    """A plugin's explainer or metric changed the model. What can be put back was put back."""


class TimeLimitError(XAIError, TimeoutError):
    """A plugin's explainer or metric took longer than it may."""


class PluginWarning(UserWarning):
    """A plugin failed where the work can go on without it."""


class ConstantMapWarning(UserWarning):
    """A map is constant: the method found no evidence, and its values are all zero."""


class OutOfMemoryWarning(UserWarning):
    """The device has no memory for a block of perturbed images; smaller ones are scored instead."""
