"""Attention flow against networkx on float capacities, and against the linear program of a maximum flow."""

import networkx as nx
import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
import torch
from torch import Tensor, nn

import xai_core as xai
from support.explicit_attention import case, plain
from support.models import fused_vit, settled
from xai_core.errors import UnsuitableError


def capacities(matrices: list[Tensor]) -> np.ndarray:
    """Abnar and Zuidema's residual-corrected mean over heads, [B,L,N,N]."""
    heads = torch.stack(matrices, 1).mean(2)
    return (0.5 * heads + 0.5 * torch.eye(heads.shape[-1])).numpy()


def by_networkx(layers: np.ndarray, token: int, read: int) -> float:
    graph = nx.DiGraph()
    for depth, layer in enumerate(layers):
        for after, row in enumerate(layer):
            for before, capacity in enumerate(row):
                graph.add_edge((depth, before), (depth + 1, after), capacity=capacity)
    return nx.maximum_flow_value(graph, (0, token), (len(layers), read))


def by_linear_program(layers: np.ndarray, token: int, read: int) -> float:
    """Maximize what enters the read token, where every token between passes on what it takes in."""
    depth, tokens, _ = layers.shape
    after, before = np.divmod(np.arange(tokens**2), tokens)
    edges = np.arange(depth * tokens**2)
    layer = np.repeat(np.arange(depth), tokens**2)
    starts = layer * tokens + np.tile(before, depth)
    ends = (layer + 1) * tokens + np.tile(after, depth)
    nodes = (depth + 1) * tokens
    shape = (nodes, len(edges))
    balance = scipy.sparse.csr_array((np.ones(len(edges)), (ends, edges)), shape) - scipy.sparse.csr_array(
        (np.ones(len(edges)), (starts, edges)), shape
    )
    sink = depth * tokens + read
    between = np.delete(np.arange(nodes), [token, sink])
    found = scipy.optimize.linprog(
        -(ends == sink).astype(float),
        A_eq=balance[between],
        b_eq=np.zeros(len(between)),
        bounds=np.stack([np.zeros(len(edges)), layers.ravel()], 1),
    )
    return -found.fun


@pytest.mark.parametrize("name", ["timm", "torchvision", "hugging face ViT, sdpa", "vit-pytorch"])
def test_it_equals_networkx_and_the_linear_program(name: str) -> None:
    model, images, prefix, _ = case(name)
    layers = capacities(plain(model, images, [1])[0])
    ours = xai.Engine(model).explain(images, "attention-flow")["attention-flow"].raw
    for image, given in zip(layers, ours.flatten(1), strict=True):
        for reference, patches in ((by_networkx, range(0, 16, 5)), (by_linear_program, range(0, 16, 3))):
            expected = [reference(image, prefix + patch, 0) for patch in patches]
            np.testing.assert_allclose(given[list(patches)], expected, atol=1e-6)


def test_on_cifar_vit() -> None:
    model = settled(xai.load_model("cifar-vit:dim=32,heads=4,depth=4").model)
    images = torch.randn(1, 3, 32, 32)
    [layers] = capacities(plain(model, images, [1])[0])
    assert layers.shape == (4, 65, 65)
    ours = xai.Engine(model).explain(images, "attention-flow")["attention-flow"].raw.flatten()
    patches = [3, 40]
    expected = [by_linear_program(layers, 1 + patch, 0) for patch in patches]
    np.testing.assert_allclose(ours[patches], expected, atol=1e-6)


@pytest.mark.parametrize(("name", "first"), [("timm mean over patches", 1), ("nn.TransformerEncoder, mean", 0)])
def test_without_a_class_token_max_flows_to_what_the_head_averages_are_averaged(name: str, first: int) -> None:
    model, images, prefix, _ = case(name)
    layers = capacities(plain(model, images, [1])[0])[0]
    ours = xai.Engine(model).explain(images[:1], "attention-flow")["attention-flow"].raw.flatten()
    for patch in (0, 9):
        flows = [by_linear_program(layers, prefix + patch, read) for read in range(first, 17)]
        np.testing.assert_allclose(ours[patch], np.mean(flows), atol=1e-6)


def test_a_layer_that_lets_little_through_decides() -> None:
    """Three tokens, of which the last can reach the first in the first layer only, through a pipe of 0.1."""
    from xai_attention.attention_flow import _max_flows

    narrow, wide = np.eye(3), np.eye(3)
    narrow[0, 2], wide[0, 1] = 0.1, 0.7
    np.testing.assert_allclose(_max_flows(np.stack([narrow, wide]), np.array([1, 0, 0])), [1, 0.7, 0.1], atol=1e-8)
    both = np.array([0.5, 0.5, 0])
    np.testing.assert_allclose(_max_flows(np.stack([narrow, wide]), both), [0.5, 0.85, 0.05], atol=1e-8)
    np.testing.assert_allclose(_max_flows(wide[None], both), [0.5, 0.85, 0], atol=1e-8)


@pytest.mark.parametrize(
    "make",
    [
        lambda: fused_vit(img_size=128, patch_size=4),
        lambda: fused_vit(img_size=128, patch_size=8, class_token=False, global_pool="avg"),
    ],
)
def test_models_with_too_many_tokens_are_refused(make: type[nn.Module]) -> None:
    with pytest.raises(UnsuitableError, match="use rollout"):
        xai.Engine(settled(make())).explain(torch.randn(1, 3, 128, 128), "attention-flow")


def test_its_maximum_max_flows_count_as_forwards() -> None:
    model = fused_vit()
    adapter = xai.Engine(model).adapter(torch.zeros(1, 3, 32, 32))
    assert xai.create_explainer("attention-flow").forward_passes(adapter) == 1 + adapter.grid[0] * adapter.grid[1]
