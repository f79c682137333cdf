"""How this process multiplies, as far as flags say; tests/test_gpu.py looks at the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
import torch

from bench.core.machine import _shorten, is_shortened, shortened


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


def test_libraries_can_read_the_flags_in_either_way() -> None:
    for allowed in (True, False):
        _shorten(allowed)
        assert torch.backends.cudnn.allow_tf32 == torch.backends.cuda.matmul.allow_tf32 == allowed
        assert (torch.backends.cudnn.conv.fp32_precision == "tf32") == allowed  # type: ignore[attr-defined]
        assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
