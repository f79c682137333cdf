"""The benchmark from Python.

Torch is imported when a name of `__all__` is asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.api import Result, benchmark, load_model

__all__ = ["Result", "benchmark", "load_model"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from bench import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
