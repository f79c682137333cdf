"""The settings for multiplication in this process.

tests/run/test_gpu.py tests the numbers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch

from bench.core.compute.machine import _shorten, hardware, is_shortened, shortened


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_a_block_is_shortened_if_that_is_wanted_and_its_end_is_not_whatever_happens() -> None:
    _shorten(False)
    with shortened(False):
        assert not is_shortened()
    with suppress(ZeroDivisionError), shortened(True):
        assert is_shortened()
        raise ZeroDivisionError
    assert not is_shortened()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU computes")
@pytest.mark.parametrize(("threads", "words"), [(1, ", 1 thread"), (2, ", 2 threads")])
def test_one_thread_is_one(threads: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert hardware().endswith(words)


def test_libraries_can_read_the_flags_in_either_way() -> None:
    for allowed in (True, False):
        _shorten(allowed)
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == allowed
        assert (torch.backends.cudnn.conv.fp32_precision == "tf32") == allowed  # type: ignore[attr-defined]
        assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")


BEFORE = """
import torch
torch.ones(2**20) + 1
from bench.core.compute.machine import pick_device
pick_device("cpu")
print(torch.get_num_threads(), int((torch.full((2**20,), 1e-30) * 1e-10).count_nonzero()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="by GNU's OpenMP")
def test_subnormal_numbers_are_zero_in_every_thread_also_in_those_that_were_there_before() -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", BEFORE], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["2", "0"]
