"""Reads TOML files of a strict schema, and words validation errors."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from bench.core.errors import UsageError, suggestion
from bench.core.schemas.protocol import SPELLINGS
from bench.core.text import printable

T = TypeVar("T", bound=BaseModel)
MAX_SHOWN = 80
"""Number of characters of a value that a message shows."""


def parse_toml(path: Path, schema: type[T], *, name: str | None = None) -> T:
    """Return the content of one TOML, strictly checked.

    A file that ends in .json holds the same as JSON: so the results keep protocols.

    Raises:
        UsageError: if it cannot be read, is not TOML, has an unknown, missing or wrong key, or its name is not `name`.
            The message names file and key.
    """
    try:
        read = json.loads if path.suffix == ".json" else tomllib.loads
        content = schema.model_validate(read(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"expected a TOML file at {path}, got: {error.strerror}; correct the path") from None
    except ValidationError as error:
        raise UsageError(f"{path.name}: {explain(error, schema)}") from None
    except (ValueError, RecursionError) as error:  # also numbers and nestings that are too large for Python
        raise UsageError(f"{path.name}: expected TOML, got: {error}; mend the file") from None
    own = getattr(content, "key", None) or getattr(content, "name", None)
    if name is not None and own != name:
        raise UsageError(f"{path.name}: expected the file to be named after its content, {own}.toml; rename it")
    return content


UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
MISSING = {"missing", "missing_argument", "missing_keyword_only_argument"}
WORDS = {
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "an integer"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing"), "a date such as 2026-01-31"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a table"),
    "string_type": "text in quotes",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
}
"""What pydantic expected, by the type of its error."""


def explain(error: ValidationError, schema: type[BaseModel] | None = None) -> str:
    """Return a validation error as one sentence that names the key.

    Unknown keys come first: an unknown key may be a misspelling, and then the key that was meant is missing, too. The
    known keys are the schema's if it is given, else the missing keys.
    """
    complaints = sorted(error.errors(), key=lambda one: one["type"] not in UNKNOWN)
    first, rest = complaints[0], complaints[1:]
    *place, last = first["loc"] or ("",)
    key = printable(".".join(map(str, first["loc"])))
    if first["type"] in UNKNOWN:
        missing = [str(one["loc"][-1]) for one in rest if one["type"] in MISSING and [*one["loc"][:-1]] == place]
        meant = suggestion(str(last), _keys(schema, place) if schema else missing)
        rest = [one for one in rest if not (one["type"] in MISSING and repr(one["loc"][-1]) in meant)]
        text = f"unknown key {key!r}; {meant or 'remove it or correct its spelling'}"
    elif first["type"] in MISSING:
        meaning = _meaning(schema, place, str(last))
        text = f"expected the key {key!r}{f' ({meaning})' if meaning else ''}, got none; add it"
    else:
        text = f"{key}: {_complaint(first)}" if key else _complaint(first)
    return text + (f" (and {len(rest)} more)" if rest else "")


def _keys(schema: type[BaseModel] | None, place: Sequence[int | str]) -> list[str]:
    """Return the keys of a table inside a schema."""
    return list(_fields(schema, place))


def _meaning(schema: type[BaseModel] | None, place: Sequence[int | str], key: str) -> str:
    """Return a schema's description of a key inside it."""
    field = _fields(schema, place).get(key)
    return "" if field is None else field.description or ""


def _fields(schema: type[BaseModel] | None, place: Sequence[int | str]) -> dict[str, FieldInfo]:
    """Return the fields of a table inside a schema."""
    for step in place:
        if schema is not None and isinstance(step, str):
            field = schema.model_fields.get(step)
            schema = None if field is None else next(_models(field.annotation), None)
    return {} if schema is None else schema.model_fields


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _complaint(one: Mapping[str, Any]) -> str:
    """Return what was expected and what came.

    The messages of our own validators already hold both.
    """
    context = one.get("ctx", {})
    if one["type"] == "value_error":
        text = str(context["error"])
        whole = ", got " in text or not one["loc"]
        return text if whole else f"{text}, got {_came(one['input'])}"
    if one["type"] == "string_pattern_mismatch":
        expected = SPELLINGS.get(context["pattern"], f"text that matches {context['pattern']}")
    else:
        expected = WORDS.get(one["type"], one["msg"]).format_map(context)
    return f"expected {expected}, got {_came(one['input'])}"


def _came(value: object) -> str:
    """Return a value as TOML, shortened."""
    if isinstance(value, str):
        return repr(value if len(value) <= MAX_SHOWN else value[:MAX_SHOWN] + "…")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | Mapping):
        return "a table" if isinstance(value, Mapping) else "a list"
    return printable(str(value))[:MAX_SHOWN]
