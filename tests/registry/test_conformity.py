"""Files with a plug-in, and the errors of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import registry
from bench.core.errors import PluginFault, UsageError, blamed_on
from bench.core.schemas.protocol import Component
from tests.support.planted import ATTACK


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"stepss": 3}, r"parameters of attack still-image, got 'stepss'; did you mean 'steps'\?"),
        ({"seed": 3}, r"parameters of attack still-image, got 'seed'; known: steps"),
        ({"steps": "many"}, r"attack still-image: steps: .*integer.*, got 'many'"),
    ],
)
def test_a_wrong_parameter_is_named(folder: Path, params: dict[str, object], message: str) -> None:
    (folder / "still_image.py").write_text(ATTACK)
    with pytest.raises(UsageError, match=message):
        registry.instantiate("attacks", Component(name="still-image", params=params))


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("from bench.core.contracts import Attack", 0), (ATTACK + ATTACK.replace("NAME", "Other"), 2)],
    ids=["empty", "imported contract", "two classes"],
)
def test_a_file_without_exactly_one_plugin_is_refused(folder: Path, text: str, count: int) -> None:
    (folder / "odd_one.py").write_text(text)
    with pytest.raises(UsageError, match=rf"odd_one\.py: expected exactly one Attack, got {count};"):
        registry.load("attacks", "odd-one")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nosuchpackage", r":1\): ModuleNotFoundError: No module named 'nosuchpackage'; mend it"),
        ("\nclass Odd(", r":2\): SyntaxError: .*; mend it"),
        ("1 / 0", r":1\): ZeroDivisionError: division by zero; mend it"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named_with_its_line(folder: Path, text: str, said: str) -> None:
    (folder / "odd_one.py").write_text(text)
    with pytest.raises(PluginFault, match=rf"^attack odd-one \(planted/odd_one\.py{said}"):
        registry.load("attacks", "odd-one")


def test_an_attack_that_does_not_say_what_it_knows_is_refused(folder: Path) -> None:
    (folder / "odd_one.py").write_text(ATTACK.replace('    knowledge: ClassVar[str] = "none"\n', ""))
    with pytest.raises(
        UsageError, match=r"odd_one\.py: expected NAME to say its knowledge, one of .*, got nothing; add"
    ):
        registry.load("attacks", "odd-one")


def test_what_fails_inside_a_plugin_is_told_with_its_last_line_there(folder: Path) -> None:
    (folder / "odd_one.py").write_text(ATTACK.replace("return images", "images.sort(key=lambda x: x.nothing)"))
    attack = registry.instantiate("attacks", Component(name="odd-one"))
    said = r"^attack odd-one \(planted/odd_one\.py:13\): AttributeError: .*'nothing'"
    with pytest.raises(PluginFault, match=said), blamed_on(attack):
        attack.perturb(None, [1], None, threat=None, rng=None)
    for passed in (UsageError("a sentence"), MemoryError("full"), RuntimeError("CUDA error: an illegal access")):
        with pytest.raises(type(passed), match=str(passed)), blamed_on(attack):
            raise passed


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "@dataclass(frozen=True, kw_only=True)\n",
            "",
            r"expected NAME under @pydantic.*, got a class without a decorator",
        ),
        ("pydantic.dataclasses", "dataclasses", r"expected NAME under @pydantic.*, got a standard dataclass; replace"),
        ("def perturb", "def perturbed", "expected NAME to define perturb, got nothing; add the method"),
        ('"none"', '"everything"', "expected NAME to say its knowledge, one of 'white-box', .*, got 'everything'; add"),
        ("(Attack)", "", "expected exactly one Attack, got 0"),
    ],
)
def test_what_an_attack_lacks_is_one_sentence(folder: Path, old: str, new: str, said: str) -> None:
    assert old in ATTACK
    (folder / "odd_one.py").write_text(ATTACK.replace(old, new))
    with pytest.raises(UsageError, match=rf"^odd_one\.py: {said}"):
        registry.instantiate("attacks", Component(name="odd-one"))


def test_a_standard_dataclass_below_one_of_ours_is_refused(folder: Path) -> None:
    text = "import dataclasses\nfrom attacks.ifia_topk import IfiaTopk\n\n@dataclasses.dataclass(frozen=True)\n"
    (folder / "odd_one.py").write_text(f"{text}class Mine(IfiaTopk):\n    extra: int = 3\n")
    with pytest.raises(UsageError, match=r"expected Mine under @pydantic.*, got a standard dataclass; replace"):
        registry.load("attacks", "odd-one")


def test_an_architecture_without_build_is_refused(folder: Path) -> None:
    (folder / "odd_one.py").write_text("BUILD = 1")
    with pytest.raises(UsageError, match=r"odd_one\.py: expected a function build"):
        registry.load("architectures", "odd-one")
