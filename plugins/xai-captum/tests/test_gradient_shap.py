"""Gradient SHAP is the mean over its samples, however many of them a block takes."""

import pytest
import torch

import xai_core as xai
from support.models import Linear


@pytest.mark.parametrize("block", [1, 2, 3, 5, 8])
def test_each_sample_counts_once_whatever_the_block(block: int) -> None:
    model, images = Linear((6, 7)), torch.randn(2, 3, 6, 7)
    method = "gradient-shap:n_samples=5,stdevs=0,channels=sum"
    # The gradient of a linear model is the same at every point, so that each sample has the whole contribution.
    expected = (images * model.weight[1].detach()).sum(1)
    raw = xai.Engine(model, block=block).explain(images, method, 1)[method].raw
    torch.testing.assert_close(raw, expected)
