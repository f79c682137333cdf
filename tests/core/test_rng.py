"""Streams: each depends on its name alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.core.compute.rng import Rng, SampleRng

IDS = tuple(f"cifar10/test/{index}" for index in range(6))
DRAWS: list[Callable[[SampleRng], Tensor]] = [lambda r: r.uniform((3, 4), -1, 1), lambda r: r.normal((3, 4))]


@pytest.fixture
def streams() -> SampleRng:
    return SampleRng(Rng(7, ("ifia-topk",)), IDS)


def test_a_stream_is_known_for_good() -> None:
    # These numbers may never change: every published run depends on them. By hand: printf '7\x1fifia-topk' | sha256sum
    assert Rng(7, ("ifia-topk",)).key == 0x4C2B3380B1A9959E >> 1
    first = SampleRng(Rng(7, ("ifia-topk",)), IDS[:1])
    assert first.seeds() == [0xCD1BCA0C3C20207E >> 1]
    assert (first.uniform((4,), 0, 1) * 2**24).tolist() == [[8687587, 2802700, 14829495, 15435939]]


@pytest.mark.parametrize("draw", DRAWS, ids=["uniform", "normal"])
def test_drawing_again_gives_the_same_and_leaves_no_trace(
    streams: SampleRng, draw: Callable[[SampleRng], Tensor]
) -> None:
    ambient = torch.random.get_rng_state()
    first = draw(streams)
    assert torch.equal(first, draw(streams))
    assert torch.equal(first, draw(SampleRng(Rng(7, ("ifia-topk",)), IDS)))
    assert torch.equal(ambient, torch.random.get_rng_state())


@pytest.mark.parametrize("draw", DRAWS, ids=["uniform", "normal"])
def test_a_sample_draws_the_same_in_any_batch_and_order(
    streams: SampleRng, draw: Callable[[SampleRng], Tensor]
) -> None:
    whole = draw(streams)
    order = [4, 0, 5]
    assert torch.equal(draw(streams.select(order)), whole[order])
    assert torch.equal(draw(streams.select(slice(2, 5))), whole[2:5])
    assert torch.equal(draw(SampleRng(streams.base, IDS[3:4])), whole[3:4])


def test_samples_purposes_and_seeds_draw_differently(streams: SampleRng) -> None:
    others = [
        streams.fork("step", 1),
        streams.fork("step", 2),
        streams.fork("step"),
        streams.fork("restart", 1),
        SampleRng(Rng(8, ("ifia-topk",)), IDS),
        SampleRng(Rng(7, ("ifia-mass-center",)), IDS),
        SampleRng(Rng(7), IDS),
    ]
    keys = [key for each in (streams, *others) for key in each.seeds()]
    assert len(set(keys)) == len(keys) == 8 * len(IDS)
    draws = torch.cat([each.normal((5,)) for each in (streams, *others)])
    assert len({tuple(draw) for draw in draws.tolist()}) == len(keys)


def test_fork_and_select_go_in_any_order(streams: SampleRng) -> None:
    assert streams.fork("step", 3).select([1, 2]) == streams.select([1, 2]).fork("step", 3)
    assert streams.fork("step", 3) == streams.fork("step").fork(3)
    assert Rng(1).fork("a").fork("b", 2) == Rng(1, ("a", "b", 2))


def test_fork_leaves_its_parent_alone(streams: SampleRng) -> None:
    before = streams.normal((2,))
    streams.fork("step", 1).normal((2,))
    assert torch.equal(before, streams.normal((2,)))


def test_generators_start_at_the_beginning() -> None:
    stream = Rng(3, ("shuffle",))
    first = torch.randperm(50, generator=stream.generator())
    assert torch.equal(first, torch.randperm(50, generator=stream.generator()))


def test_keys_seed_the_draws(streams: SampleRng) -> None:
    for key, row in zip(streams.seeds(), streams.normal((4,)), strict=True):
        assert 0 <= key < 2**63
        assert torch.equal(row, torch.randn(4, generator=torch.Generator().manual_seed(key)))


def test_uniform_and_normal_have_their_shape_and_moments() -> None:
    streams = SampleRng(Rng(0), tuple(map(str, range(400))))
    uniform, normal = streams.uniform((10, 10), -0.03, 0.01), streams.normal((10, 10))
    assert uniform.shape == normal.shape == (400, 10, 10)
    assert uniform.dtype == normal.dtype == torch.float32
    assert uniform.min() >= torch.tensor(-0.03)
    assert uniform.max() <= torch.tensor(0.01)
    assert uniform.mean().item() == pytest.approx(-0.01, abs=3e-4)
    assert normal.mean().item() == pytest.approx(0, abs=0.02)
    assert normal.std().item() == pytest.approx(1, abs=0.02)
    # Neighbouring samples' streams are unrelated.
    flat = normal.flatten(1)
    assert (flat[:-1] * flat[1:]).mean().item() == pytest.approx(0, abs=0.02)
