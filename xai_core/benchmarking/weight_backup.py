"""A copy of a model's weights, which is restored after a plugin has changed them."""

import torch
from torch import Tensor, nn

from xai_core.benchmarking.hashes import weights_hash
from xai_core.errors import CheckpointError


class WeightBackup:
    """A copy, in host memory, of a model's parameters and persistent buffers.

    Parameters
    ----------
    model
        The model.
    spec
        Spec of the model, for error messages.
    expected
        The `weights_hash` that the manifest records.

    Raises
    ------
    CheckpointError
        If the weights have another hash.
    """

    def __init__(self, model: nn.Module, spec: str, expected: str) -> None:
        if weights_hash(model) != expected:
            raise CheckpointError(
                f"the weights of {spec} differ from those in the manifest, because each load draws random weights; set"
                " weights= or a seed in the spec, or pass a LoadedModel"
            )
        self._model, self._spec, self._expected = model, spec, expected
        self._copies = {name: tensor.to("cpu", copy=True) for name, tensor in self._tensors().items()}

    def restore(self, reason: str) -> None:
        """Copy the weights back to the model. If that fails, the error message contains `reason`.

        Raises
        ------
        CheckpointError
            If the model has other weights afterwards.
        """
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                if name in self._copies and tensor.shape == self._copies[name].shape:
                    tensor.copy_(self._copies[name])
        if weights_hash(self._model) != self._expected:
            raise CheckpointError(f"the weights of {self._spec} were changed and cannot be restored: {reason}")

    def _tensors(self) -> dict[str, Tensor]:
        state = self._model.state_dict()
        return {name: tensor.detach() for name, tensor in state.items() if isinstance(tensor, Tensor)}
