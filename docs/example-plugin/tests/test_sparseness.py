"""Sparseness passes the conformance checks of metrics, and computes the Gini index."""

import torch
from xai_example import Sparseness
from xai_example.sparseness import gini

import xai_core as xai
from xai_core.testing import Check, check_metric, parametrize_with_checks


@parametrize_with_checks(check_metric(Sparseness))
def test_conformance(check: Check) -> None:
    check()


def test_it_is_registered() -> None:
    assert isinstance(xai.create_metric("sparseness"), Sparseness)


def test_formula() -> None:
    """Compare with the definition of Gini: half the relative mean absolute difference over all pairs."""
    maps = torch.rand(3, 5, 7, dtype=torch.double, generator=torch.Generator().manual_seed(0)) ** 3
    for values, index in zip(maps.flatten(1), gini(maps), strict=True):
        expected = (values[:, None] - values).abs().mean() / (2 * values.mean())
        torch.testing.assert_close(index, expected)


def test_extreme_maps() -> None:
    one = torch.zeros(1, 10, 10)
    one[0, 3, 4] = 1
    torch.testing.assert_close(gini(one), torch.tensor([0.99]))
    torch.testing.assert_close(gini(torch.ones(1, 10, 10)), torch.zeros(1), atol=1e-6, rtol=0)
    assert gini(torch.zeros(1, 10, 10)).tolist() == [0]
