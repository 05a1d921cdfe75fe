"""Tests of work shared among threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from skyduel.detect.model.threads import each_in_threads


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_every_item_has_its_turn_once(two_threads: None) -> None:
    seen: list[int] = []
    each_in_threads(seen.append, range(100))
    assert sorted(seen) == list(range(100))


def test_two_work_at_the_same_time(two_threads: None) -> None:
    meeting = threading.Barrier(2, timeout=600)
    each_in_threads(lambda _: meeting.wait(), range(2))


def test_what_one_raises_is_raised(two_threads: None) -> None:
    with pytest.raises(ZeroDivisionError):
        each_in_threads(lambda n: 1 // n, [1, 0])


def test_one_thread_keeps_the_order() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    seen: list[int] = []
    try:
        each_in_threads(seen.append, [3, 1, 2])
    finally:
        torch.set_num_threads(before)
    assert seen == [3, 1, 2]
    each_in_threads(seen.append, [])
    assert seen == [3, 1, 2]
