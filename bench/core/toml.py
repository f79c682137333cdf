"""TOML files of a strict schema, and validation errors as sentences."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from bench.core.errors import UsageError
from bench.core.text import printable

T = TypeVar("T", bound=BaseModel)


def parse_toml(path: Path, schema: type[T], *, name: str | None = None) -> T:
    """Read one TOML strictly.

    Raises:
        UsageError: naming file and key, if it cannot be read or is no TOML, a key is unknown, missing or wrong, or
            `name` differs.
    """
    try:
        content = schema.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"expected a TOML file at {path}, got: {error.strerror}; correct the path") from None
    except ValidationError as error:
        raise UsageError(f"{path.name}: {explain(error)}") from None
    except (ValueError, RecursionError) as error:  # also numbers and nestings beyond what Python reads
        raise UsageError(f"{path.name}: expected TOML, got: {error}; mend the file") from None
    own = getattr(content, "key", None) or getattr(content, "name", None)
    if name is not None and own != name:
        raise UsageError(f"{path.name}: expected the file to be named after its content, {own}.toml; rename it")
    return content


def explain(error: ValidationError) -> str:
    """Return the first complaint of a validation as one sentence that names the key."""
    first, more = error.errors()[0], error.error_count() - 1
    key = printable(".".join(map(str, first["loc"]))) or "the whole"
    match first["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            text = f"unknown key {key!r}; remove it or correct its spelling"
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            text = f"expected the key {key!r}, got none; add it"
        case _:
            text = f"{key}: {first['msg'].removeprefix('Value error, ')}, got {str(first['input'])[:80]!r}"
    return text + (f" (and {more} more)" if more else "")
