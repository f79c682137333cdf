"""Holds one question to a model or a record, with its answer."""

from __future__ import annotations

from typing import NamedTuple

from bench.core.errors import (
    BenchError,
)


class Check(NamedTuple):
    """One question and its answer.

    `exit_code` is 0 if ok, else the exit code of the error.
    """

    subject: str
    question: str
    ok: bool
    detail: str
    exit_code: int = 0
    skipped: bool = False
    """Whether this machine could not answer the question; `ok` then only says that nothing failed."""


def failure(subject: str, question: str, error: BenchError) -> Check:
    """Return the answer to a question that ended with an error."""
    return Check(subject, question, False, str(error), error.exit_code)
