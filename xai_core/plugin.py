"""Names for plugin authors, in addition to the public names of `xai_core`.

Like `xai_core`, this module imports each name when it is first used.
"""

from typing import TYPE_CHECKING

from xai_core.lazy import lazy_names

if TYPE_CHECKING:  # what type checkers and editors see; a test compares these imports with _SOURCES
    from xai_core.blending import blended_scores as blended_scores
    from xai_core.blending import masked_scores as masked_scores
    from xai_core.channels import CHANNELS as CHANNELS
    from xai_core.channels import reduce_channels as reduce_channels
    from xai_core.cli.commands import command_line as command_line
    from xai_core.cli.console import print_line as print_line
    from xai_core.cli.console import progress_bar as progress_bar
    from xai_core.cli.loading import select_device as select_device
    from xai_core.cli.options import DeviceOption as DeviceOption
    from xai_core.data.ground_truth import box_mask as box_mask
    from xai_core.data.images import as_rgb as as_rgb
    from xai_core.data.images import decode_image as decode_image
    from xai_core.data.images import open_image as open_image
    from xai_core.data.images import read_image as read_image
    from xai_core.data.sources import Dataset as Dataset
    from xai_core.data.sources import DatasetSource as DatasetSource
    from xai_core.data.sources import ModelSource as ModelSource
    from xai_core.errors import CheckpointError as CheckpointError
    from xai_core.errors import CheckpointWarning as CheckpointWarning
    from xai_core.errors import ConvergenceError as ConvergenceError
    from xai_core.errors import DatasetError as DatasetError
    from xai_core.errors import DatasetWarning as DatasetWarning
    from xai_core.errors import FileError as FileError
    from xai_core.errors import ImageFileError as ImageFileError
    from xai_core.errors import InputShapeError as InputShapeError
    from xai_core.errors import InputTypeError as InputTypeError
    from xai_core.errors import LayerError as LayerError
    from xai_core.errors import MissingDependencyError as MissingDependencyError
    from xai_core.errors import ModelCodeError as ModelCodeError
    from xai_core.errors import ModelOutputError as ModelOutputError
    from xai_core.errors import NotConnectedError as NotConnectedError
    from xai_core.errors import OptionError as OptionError
    from xai_core.errors import TargetError as TargetError
    from xai_core.errors import UnknownDatasetError as UnknownDatasetError
    from xai_core.errors import UnknownModelError as UnknownModelError
    from xai_core.errors import UnknownOptionError as UnknownOptionError
    from xai_core.errors import UnsuitableError as UnsuitableError
    from xai_core.file_limits import file_limit as file_limit
    from xai_core.files import is_file as is_file
    from xai_core.files import is_folder as is_folder
    from xai_core.files import is_openable as is_openable
    from xai_core.files import make_folder as make_folder
    from xai_core.files import write_file as write_file
    from xai_core.memory_errors import out_of_memory as out_of_memory
    from xai_core.metric import Evaluation as Evaluation
    from xai_core.model.attention import AttentionLayer as AttentionLayer
    from xai_core.model.attention_path import AttentionPath as AttentionPath
    from xai_core.model.attention_reader import AttentionReader as AttentionReader
    from xai_core.model.autograd_graph import dominators as dominators
    from xai_core.model.autograd_graph import joins as joins
    from xai_core.model.decoder import Decoder as Decoder
    from xai_core.model.gates import Gate as Gate
    from xai_core.model.gates import Gated as Gated
    from xai_core.model.layouts import Features as Features
    from xai_core.model.layouts import Layer as Layer
    from xai_core.model.locations import Locations as Locations
    from xai_core.model.probe import Probe as Probe
    from xai_core.model.runtimes import require_plain_modules as require_plain_modules
    from xai_core.model.shared_copy import SharedModel as SharedModel
    from xai_core.model.shared_copy import copy_modules as copy_modules
    from xai_core.model_scorer import ModelScorer as ModelScorer
    from xai_core.normalization import normalize as normalize
    from xai_core.normalization import resize as resize
    from xai_core.options import SCORE_KINDS as SCORE_KINDS
    from xai_core.options import check_choice as check_choice
    from xai_core.options import check_flag as check_flag
    from xai_core.options import check_integer as check_integer
    from xai_core.options import check_number as check_number
    from xai_core.options import check_seed as check_seed
    from xai_core.outputs import scores_of as scores_of
    from xai_core.perturb import Baseline as Baseline
    from xai_core.perturb import baseline_images as baseline_images
    from xai_core.perturb import ranks as ranks
    from xai_core.perturb import steps_of as steps_of
    from xai_core.plugins.hookspecs import CONTRACT as CONTRACT
    from xai_core.precision import at_least_float32 as at_least_float32
    from xai_core.precision import wide as wide
    from xai_core.saliency import Relevance as Relevance
    from xai_core.saliency import relevance as relevance
    from xai_core.spec import Spec as Spec
    from xai_core.spec import Value as Value
    from xai_core.spec import suggest as suggest
    from xai_core.superpixels import superpixels as superpixels
    from xai_core.targets.score_reader import ScoreReader as ScoreReader
    from xai_core.targets.target import BoundTarget as BoundTarget
    from xai_core.targets.target import Target as Target
    from xai_core.targets.target import TargetLike as TargetLike

_SOURCES = {
    "AttentionLayer": "model.attention",
    "AttentionPath": "model.attention_path",
    "AttentionReader": "model.attention_reader",
    "Baseline": "perturb",
    "BoundTarget": "targets.target",
    "CHANNELS": "channels",
    "CONTRACT": "plugins.hookspecs",
    "CheckpointError": "errors",
    "CheckpointWarning": "errors",
    "ConvergenceError": "errors",
    "Dataset": "data.sources",
    "DatasetError": "errors",
    "DatasetSource": "data.sources",
    "DatasetWarning": "errors",
    "Decoder": "model.decoder",
    "DeviceOption": "cli.options",
    "Evaluation": "metric",
    "Features": "model.layouts",
    "FileError": "errors",
    "Gate": "model.gates",
    "Gated": "model.gates",
    "ImageFileError": "errors",
    "InputShapeError": "errors",
    "InputTypeError": "errors",
    "Layer": "model.layouts",
    "LayerError": "errors",
    "MissingDependencyError": "errors",
    "ModelCodeError": "errors",
    "ModelOutputError": "errors",
    "ModelScorer": "model_scorer",
    "ModelSource": "data.sources",
    "NotConnectedError": "errors",
    "OptionError": "errors",
    "Locations": "model.locations",
    "Probe": "model.probe",
    "Relevance": "saliency",
    "SCORE_KINDS": "options",
    "ScoreReader": "targets.score_reader",
    "SharedModel": "model.shared_copy",
    "Spec": "spec",
    "Target": "targets.target",
    "TargetError": "errors",
    "TargetLike": "targets.target",
    "UnknownDatasetError": "errors",
    "UnknownModelError": "errors",
    "UnknownOptionError": "errors",
    "UnsuitableError": "errors",
    "Value": "spec",
    "as_rgb": "data.images",
    "at_least_float32": "precision",
    "baseline_images": "perturb",
    "blended_scores": "blending",
    "box_mask": "data.ground_truth",
    "check_choice": "options",
    "check_flag": "options",
    "check_integer": "options",
    "check_number": "options",
    "check_seed": "options",
    "command_line": "cli.commands",
    "copy_modules": "model.shared_copy",
    "decode_image": "data.images",
    "dominators": "model.autograd_graph",
    "file_limit": "file_limits",
    "is_file": "files",
    "is_folder": "files",
    "is_openable": "files",
    "joins": "model.autograd_graph",
    "make_folder": "files",
    "masked_scores": "blending",
    "normalize": "normalization",
    "open_image": "data.images",
    "out_of_memory": "memory_errors",
    "print_line": "cli.console",
    "progress_bar": "cli.console",
    "ranks": "perturb",
    "read_image": "data.images",
    "relevance": "saliency",
    "reduce_channels": "channels",
    "require_plain_modules": "model.runtimes",
    "resize": "normalization",
    "scores_of": "outputs",
    "select_device": "cli.loading",
    "steps_of": "perturb",
    "suggest": "spec",
    "superpixels": "superpixels",
    "wide": "precision",
    "write_file": "files",
}

__all__ = list(_SOURCES)

if not TYPE_CHECKING:  # a type checker that saw `__getattr__` would accept every misspelled name
    __getattr__, __dir__ = lazy_names(__name__, _SOURCES)
