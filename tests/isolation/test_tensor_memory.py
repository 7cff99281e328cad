"""Bytes of live tensors: each storage once, whoever holds it."""

import gc

import torch

from xai_core.isolation.tensor_memory import live_bytes


def grown(before: int) -> int:
    return live_bytes() - before


def test_a_storage_counts_once_and_until_it_is_let_go() -> None:
    gc.collect()
    before = live_bytes()
    kept = torch.zeros(1000)
    assert grown(before) == 4000
    views = [kept[:10], kept.view(10, 100), kept.detach(), torch.nn.Parameter(kept)]
    assert grown(before) == 4000
    del kept
    assert grown(before) == 4000
    views.append(torch.zeros(3, dtype=torch.float64))
    assert grown(before) == 4024
    del views
    assert grown(before) == 0


def test_what_has_no_storage_is_no_hindrance() -> None:
    gc.collect()
    before = live_bytes()
    kept = [torch.zeros(1000, device="meta"), torch.zeros(100, 100).to_sparse(), torch.empty(0)]
    assert grown(before) < 1000
    del kept


def test_an_object_that_hides_its_class_is_no_hindrance() -> None:
    class Hiding:
        @property
        def __class__(self) -> type:
            raise RuntimeError("do not ask")

    hiding = Hiding()
    assert live_bytes() >= 0
    del hiding
