"""The weights that a model was loaded with, kept on the host, to be put back where a plugin changed them."""

import torch
from torch import Tensor, nn

from xai_core.benchmarking.manifest import weights_hash
from xai_core.errors import CheckpointError


class WeightBackup:
    """A copy of a model's parameters and of the buffers that are saved with it.

    Raises
    ------
    CheckpointError
        Where they are not those that the manifest's hash names.
    """

    def __init__(self, model: nn.Module, spec: str, expected: str) -> None:
        if weights_hash(model) != expected:
            raise CheckpointError(
                f"{spec} was loaded again with other weights than the run's: they are random at each load; give"
                " weights=, a seed or a file, or a LoadedModel"
            )
        self._model, self._spec, self._expected = model, spec, expected
        self._kept = {name: tensor.to("cpu", copy=True) for name, tensor in self._tensors().items()}

    def put_back(self, why: str) -> None:
        """Write them to the model again.

        Raises
        ------
        CheckpointError
            Where the model is not the same then.
        """
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                if name in self._kept and tensor.shape == self._kept[name].shape:
                    tensor.copy_(self._kept[name])
        if weights_hash(self._model) != self._expected:
            raise CheckpointError(f"the weights of {self._spec} were changed and cannot be put back: {why}")

    def _tensors(self) -> dict[str, Tensor]:
        return {name: one.detach() for name, one in self._model.state_dict().items() if isinstance(one, Tensor)}
