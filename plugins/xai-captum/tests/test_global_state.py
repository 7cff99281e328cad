"""captum's use of the shared random generators leaves no trace on them."""

import numpy as np
import torch

from xai_captum.global_state import seeded


def test_the_generators_continue_as_if_nothing_had_happened() -> None:
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(4), np.random.rand(4)
    torch.manual_seed(3)
    np.random.seed(3)
    with seeded(7, torch.device("cpu")):
        assert torch.rand(1).item() == torch.rand(1, generator=torch.Generator().manual_seed(7)).item()
        np.random.rand(5)
    assert torch.equal(torch.rand(4), expected[0])
    assert np.array_equal(np.random.rand(4), expected[1])
