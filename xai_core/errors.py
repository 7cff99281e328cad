"""All errors and warnings that xai-core raises on purpose.

Every error derives from `XAIError`. Most also derive from the built-in error that a caller would expect
(`TypeError`, `ValueError`, `LookupError`), so existing handlers catch them too. Each message states what was wrong,
what was expected, what was received, and what to do.
"""

from xai_core.printable import one_line


class XAIError(Exception):
    """Base class of all errors of xai-core and its plugins.

    The message is one line. Control characters are escaped, and words over 200 characters are shortened.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class InputTypeError(XAIError, TypeError):
    """An argument has the wrong type, for example images that are not a floating-point tensor."""


class InputShapeError(XAIError, ValueError):
    """Images, masks or maps do not have the expected shape."""


class InputRangeError(XAIError, ValueError):
    """An image contains values outside the expected range."""


class EmptyBatchError(XAIError, ValueError):
    """The batch contains no image."""


class NonFiniteInputError(XAIError, ValueError):
    """An image contains NaN or infinity."""


class DatasetError(XAIError, ValueError):
    """No image of the dataset can be read, or the model accepts none of them."""


class ModelOutputError(XAIError, ValueError):
    """The model's output does not contain one row of scores per image, or it contains several such tensors."""


class NonFiniteOutputError(XAIError, ValueError):
    """The model returned NaN or infinity."""


class NonFiniteMapError(XAIError, ValueError):
    """A map contains NaN or infinity."""


class NonFiniteResultError(XAIError, ValueError):
    """A metric returned NaN or infinity."""


class ConvergenceError(XAIError, ArithmeticError):
    """An iterative solver did not converge."""


class TargetError(XAIError, ValueError):
    """The target is not a class of the model, or is not defined for the model's output."""


class LayerError(XAIError, LookupError):
    """The model has no such layer, or the layer has no spatial output."""


class NotConnectedError(XAIError, ValueError):
    """The target's score does not depend on the layer, so its gradient is undefined."""


class NoGradientError(XAIError, ValueError):
    """PyTorch cannot compute a gradient that the method needs, for example through int8 layers."""


class NotCapturedError(XAIError, LookupError):
    """An explainer requested a value that its `needs` did not declare."""


class UnsuitableError(XAIError, ValueError):
    """The method or metric is not defined for this model or these maps."""


class NoAttentionError(UnsuitableError):
    """The method needs attention, and no attention was observed in this model."""


class RowError(XAIError, IndexError):
    """An attention layer has no row with this index."""


class NoGroundTruthError(UnsuitableError):
    """The metric needs ground-truth masks, and none were passed."""


class CroppedGroundTruthError(NoGroundTruthError):
    """The model's crop of the image contains no pixel of the ground truth."""


class SpecError(XAIError, ValueError):
    """A spec (specification string) such as `source:name,option=value` cannot be parsed."""


class OptionError(XAIError, ValueError):
    """An option or setting has a value that is not allowed."""


class UnknownOptionError(OptionError, TypeError):
    """An option or setting of this name does not exist."""


class MissingDependencyError(XAIError, ImportError):
    """An optional package is not installed."""


class UnknownExplainerError(XAIError, LookupError):
    """No plugin provides an explainer of this name."""


class UnknownMetricError(XAIError, LookupError):
    """No plugin provides a metric of this name."""


class UnknownModelError(XAIError, LookupError):
    """No plugin provides this model."""


class UnknownDatasetError(XAIError, LookupError):
    """No plugin provides this dataset."""


class FileError(XAIError, OSError):
    """A file or folder is missing, cannot be accessed, or would be overwritten."""


class ImageFileError(FileError):
    """An image file is damaged, truncated or not an image."""


class CheckpointError(XAIError, ValueError):
    """A checkpoint cannot be read, or does not match the model."""


class ModelCodeError(XAIError, RuntimeError):
    """The user's function that builds a model raised an error, or returned something else."""


class WorkerError(XAIError, RuntimeError):
    """A worker process of a benchmark ended repeatedly."""


class DeviceError(XAIError, RuntimeError):
    """The GPU failed, so nothing more can be computed in this process."""


class PluginError(XAIError):
    """A plugin is missing, cannot be loaded, or conflicts with another plugin."""


class PluginContractError(PluginError):
    """A plugin returned something other than what its hook or base class specifies."""


class SideEffectError(PluginError):
    """A plugin changed the model, shared tensors or the process. Changes of the model except weights were reverted."""


class TimeLimitError(XAIError, TimeoutError):
    """An explainer or metric exceeded its time limit."""


class PluginWarning(UserWarning):
    """A plugin failed, and the work continues without it."""


class DatasetWarning(UserWarning):
    """Entries of a dataset are skipped."""


class CheckpointWarning(UserWarning):
    """Entries of a weights file are ignored, because they do not belong to the model."""


class ConstantMapWarning(UserWarning):
    """A map is constant: the method found no evidence, and all values of the map are zero."""


class OutOfMemoryWarning(UserWarning):
    """The device ran out of memory for a block of perturbed images, so smaller blocks are used."""
