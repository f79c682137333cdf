"""Hostile documents that pass the first check.

They are valid documents with a few changed values, keys or bytes.
"""

from __future__ import annotations

import copy
import json
from datetime import date
from typing import Any

import tomli_w
from hypothesis import strategies as st

from tests.hostile.guard import CANARY

PAYLOADS = (
    f"__import__('os').system('touch {CANARY}')",
    f"!!python/object/apply:os.system ['touch {CANARY}']",
    f"{{{{ ''.__class__.__mro__[1].__subclasses__() }}}}{CANARY}",
    f"$(touch {CANARY})`touch {CANARY}`;touch {CANARY}|touch {CANARY}",
    f"<script>{CANARY}</script>",
    f"../../{CANARY}.toml",
    f"../../{CANARY}.safetensors",
    f"/tmp/{CANARY}",
    f"--output={CANARY}",
    f"file:///{CANARY}",
)
"""What would run, or be written, where somebody evaluates, formats, joins or shells out a stranger's text."""

ODD_TEXTS = (
    "", " ", ".", "..", "-", "a/b", "a\\b", "~", "\0", "\n", "a\nb", "\x1b[2J", "\u202e", "\u0663", "\ud800", "é" * 300,
    "x" * 5000, "1/0", "0/1", "-8/255", "8/255", "inf", "nan", "1e400", "9" * 5000, "None", "true", "con", "{}", "%s",
    "hub:art-wrn28", "hub:a/b", "file:tiny.toml", "2026-01-01", "0" * 64, "https://example.org", "javascript:alert(1)",
)  # fmt: skip
NUMBERS = (0, 1, 2, -1, 3, 10, 16, 255, 2**31, 2**63, -(2**63), 2**64, 10**30, 0.0, -0.0, 0.5, 1.0, 1e-300, 1e300, -1.5)
NAMES = (
    "wide-resnet", "linear", "constant-map", "small-cnn", "resnet50", "timm", "torchvision", "robustbench", "cifar10",
    "foolbox-cifar10", "mnist", "gradient", "integrated-gradients", "smoothgrad", "grad-cam", "deeplift", "lrp", "auto",
    "ifia-topk", "random-noise", "transfer", "pgd", "autoattack", "kendall", "accuracy", "ssim", "infidelity",
    "natural", "art", "ig-norm", "natural-wrn28", "linf", "l2", "float64", "sum",
    "true-class", "white-box", "softplus", "train",
)  # fmt: skip
"""Words that mean something somewhere: in the wrong place they lead deeper than nonsense does."""

scalars = st.one_of(
    st.sampled_from(PAYLOADS),
    st.sampled_from(ODD_TEXTS),
    st.sampled_from(NUMBERS),
    st.sampled_from(NAMES),
    st.sampled_from([True, False, float("nan"), float("inf"), -float("inf")]),
    st.text(max_size=20),
    st.integers(),
    st.floats(allow_subnormal=False),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def containers(content: Any) -> list[Any]:
    """Every dictionary and list of a nested document that holds something."""
    inner = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    return [*([content] if inner else []), *(found for value in inner for found in containers(value))]


@st.composite
def places(draw: st.DrawFn, content: Any) -> tuple[Any, Any]:
    """Draw a container of a nested document and a place in it.

    A long list is no likelier than a short one.
    """
    container = draw(st.sampled_from(containers(content)))
    return container, draw(st.sampled_from(sorted(container) if isinstance(container, dict) else range(len(container))))


def plausible(old: Any) -> st.SearchStrategy[Any]:
    """Values of the kind of `old`, which a schema may let pass."""
    if isinstance(old, bool):
        return st.booleans()
    if isinstance(old, int):
        return st.sampled_from(NUMBERS) | st.integers(-2, 2).map(lambda step: old + step) | st.integers()
    if isinstance(old, float):
        return st.sampled_from(NUMBERS) | st.floats(0, 1, allow_subnormal=False) | st.floats(allow_subnormal=False)
    if isinstance(old, str):
        return st.sampled_from(NAMES + PAYLOADS + ("0/1", "-8/255", "1/3", "1/10000000000")) | st.text(max_size=8)
    return values


@st.composite
def mutated(draw: st.DrawFn, document: Any, *, nullable: bool = False) -> Any:
    """Draw a document of JSON values with one to three changes.

    It has nulls only if asked for.
    """
    content = copy.deepcopy(document)
    for _ in range(draw(st.sampled_from((1, 1, 2, 3)))):
        if not containers(content):
            return content
        container, key = draw(places(content))
        change = draw(st.sampled_from(("replace",) * 8 + ("odd", "remove", "rename", "add", "move")))
        anything = values | st.none() if nullable else values
        new = draw(plausible(container[key]) if change == "replace" else anything)
        _apply(draw, change, (container, key), new, content)
    return content


def _apply(draw: st.DrawFn, change: str, place: tuple[Any, Any], new: Any, content: Any) -> None:
    container, key = place
    if change == "remove":
        del container[key]
    elif change == "rename" and isinstance(container, dict):
        container[draw(st.sampled_from(ODD_TEXTS + PAYLOADS) | st.text(max_size=8))] = container.pop(key)
    elif change == "add":
        container.append(new) if isinstance(container, list) else container.update({draw(st.text(max_size=8)): new})
    elif change == "move":
        other, other_key = draw(places(content))
        container[key] = copy.deepcopy(other[other_key])
    else:
        container[key] = new


@st.composite
def scrambled(draw: st.DrawFn, content: bytes) -> bytes:
    """Draw bytes with one to three pieces removed, added, doubled or flipped."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        piece = draw(
            st.sampled_from((b"", content[start:end] * 2, b"[" * 5000, b'"', b"\0", b"\xff\xfe", b"\n", b"PK\x03\x04"))
            | st.binary(max_size=12)
        )
        content = content[:start] + piece + content[end:]
    return content


def as_toml(content: dict[str, Any]) -> bytes:
    """Write a document as TOML.

    Half characters, which TOML lacks, become bytes that are no text.
    """
    return tomli_w.dumps(_dated(content)).encode("utf-8", "surrogatepass")


def as_json(content: Any) -> bytes:
    """JSON of a document, with Python's NaN and infinities, which are none."""
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _dated(content: Any) -> Any:
    """Write `added` as a TOML date where it is still one."""
    if isinstance(content.get("added"), str):
        try:
            return {**content, "added": date.fromisoformat(content["added"])}
        except ValueError:
            pass
    return content


def documents(document: dict[str, Any], *, encode: Any = as_toml, nullable: bool = False) -> st.SearchStrategy[bytes]:
    """Files of a format: mostly well-formed with hostile content, sometimes scrambled bytes."""
    well_formed = mutated(document, nullable=nullable).map(encode)
    return st.integers(0, 9).flatmap(lambda die: scrambled(encode(document)) if die == 0 else well_formed)


def _passes(text: str) -> bool:
    """Return whether a word can be an argument of a command.

    It must be text, and must name no folder of the machine to write to.
    """
    return "\0" not in text and text.encode("utf-8", "ignore").decode() == text and not text.startswith(("/", "~"))


hostile_words = (st.sampled_from(ODD_TEXTS + PAYLOADS) | st.text(max_size=12)).filter(_passes)
"""What somebody may type, or a script may fill in."""
