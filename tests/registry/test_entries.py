"""Entries of models, and the errors of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import registry
from bench.core.errors import UsageError
from tests.support.planted import ENTRY


def test_a_good_entry_is_read(folder: Path) -> None:
    (folder / "entries" / "tiny.toml").write_text(ENTRY)
    entry = registry.load("models", "tiny")
    assert (entry.name, entry.architecture.params, entry.weights.size) == ("tiny", {"depth": 10}, 1)
    assert registry.summary("models", "tiny") == "A tiny network"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('license = "MIT"', 'licence = "MIT"', r"unknown key 'licence'; did you mean 'license'\?$"),
        ("num_classes = 10", "numclasses = 10", r"unknown key 'numclasses'; did you mean 'num_classes'\?$"),
        ("num_classes = 10", "numclasses = 10\nclasses = 10", r"unknown key 'numclasses'; .* \(and 1 more\)$"),
        ("added = 2026-01-01", "added = 2026-01-01\nsorce = 'x'", r"unknown key 'sorce'; did you mean 'source'\?$"),
        ('method = "natural"', 'methode = "natural"', r"unknown key 'training.methode'; did you mean 'method'\?$"),
        ("num_classes = 10", "num_classes = 10\nklass = 10", r"unknown key 'klass'"),
        ("size = 1", "size = 1, bytes = 1", r"unknown key 'weights\.bytes'"),
        ("num_classes = 10\n", "", r"expected the key 'num_classes', got none"),
        (', sha256 = "' + "0" * 64 + '"', "", r"expected the key 'weights\.sha256', got none"),
        ("num_classes = 10", "num_classes = 1", r"num_classes: expected at least 2, got 1$"),
        ("num_classes = 10", 'num_classes = "ten"', r"num_classes: expected an integer, got 'ten'$"),
        ("size = 1", "size = 0", r"weights\.size: expected at least 1, got 0$"),
        ("tiny.safetensors", "../tiny.safetensors", r"weights\.file: expected [^']*, got '../tiny.safetensors'$"),
        ("tiny.safetensors", "tiny.pt", r"weights\.file: expected a relative path of a \.safetensors file"),
        ('file = "tiny', 'repo = "a/b", file = "tiny', r"weights: expected repo and revision, .*, got repo alone$"),
        (
            "mean = [0.5]",
            "mean = [0.5, 0.5]",
            r"mean, std: expected one number each per channel, got 2 and 1; see the data set's$",
        ),
        ("std = [0.25]", "std = [0.0]", r"std: expected numbers above 0, got \[0\.0\]; [^']*$"),
        ('name = "tiny"', 'name = "Tiny Net"', r"name: expected lower-case letters and digits.*, got 'Tiny Net'$"),
        ('name = "tiny"', 'name = "other"', r"named after its content, other\.toml; rename it"),
        ('name = "tiny"', "epsilon = 0.03\nname = 'tiny'", r'epsilon: expected a fraction .* "8/255"'),
        ("added = 2026-01-01", 'added = "soon"', r"added: expected a date such as .*, got 'soon'$"),
        ("num_classes = 10", "num_classes = = 10", r"expected TOML, got: .*line 5"),
    ],
)
def test_a_bad_entry_is_one_sentence_naming_file_and_key(folder: Path, old: str, new: str, message: str) -> None:
    assert old in ENTRY
    (folder / "entries" / "tiny.toml").write_text(ENTRY.replace(old, new))
    with pytest.raises(UsageError, match=rf"^tiny\.toml: .*{message}") as caught:
        registry.load("models", "tiny")
    assert "\n" not in str(caught.value)
    chained = caught.value.__context__ is not None and not caught.value.__suppress_context__
    assert not chained, "the parser's own traceback helps nobody"


def test_a_binary_entry_is_refused(folder: Path) -> None:
    (folder / "entries" / "tiny.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"^tiny\.toml: expected TOML"):
        registry.load("models", "tiny")
