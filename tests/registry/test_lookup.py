"""Finding plug-ins by name, and the errors of bad ones.

Plug-ins lie in folders, TOML files and other people's packages.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import pytest

from bench import registry
from bench.core.contracts import Attack
from bench.core.errors import FEW, UnknownNameError
from bench.core.schemas.protocol import Component
from tests.support.planted import ATTACK, ENTRY

KINDS: tuple[registry.Kind, ...] = get_args(registry.Kind)


def every_plugin() -> list[tuple[registry.Kind, str]]:
    return [(kind, name) for kind in KINDS for name in registry.names(kind)]


@pytest.mark.parametrize("kind", KINDS)
def test_names_are_sorted_and_no_private_file_is_among_them(kind: registry.Kind) -> None:
    names = registry.names(kind)
    assert names == sorted(set(names))
    assert not [name for name in names if name.startswith(("-", "_"))]


@pytest.mark.parametrize(("kind", "name"), every_plugin())
def test_every_plugin_loads(kind: registry.Kind, name: str) -> None:
    plugin = registry.load(kind, name)
    assert callable(plugin) or name in (plugin.name, getattr(plugin, "key", None))


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_is_answered_with_the_closest_one(folder: Path, kind: registry.Kind) -> None:
    (folder / "random_noise.py").write_text(ATTACK)
    (folder / "entries" / "art-wrn28.toml").write_text(ENTRY)
    registry.refresh()
    known = registry.names(kind)[0]
    for ask in (registry.load, registry.summary):
        with pytest.raises(UnknownNameError, match=f"got '{known}s'; did you mean '{known}'\\? {others(kind)}$"):
            ask(kind, f"{known}s")
    with pytest.raises(UnknownNameError) as caught:
        registry.load(kind, "qqqqqqqq")
    assert "did you mean" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_unknown_kind_is_answered_with_the_closest_one() -> None:
    asks = (
        registry.load,
        registry.summary,
        registry.definition,
        registry.describe,
        lambda kind, _: registry.names(kind),
    )
    for ask in asks:
        with pytest.raises(
            UnknownNameError, match=r"kinds of plug-in, got 'attack'; did you mean 'attacks'\? bench list shows"
        ):
            ask("attack", "pgd")  # type: ignore[arg-type]


def test_a_plugin_in_memory_is_there_for_a_while_and_in_no_list() -> None:
    with registry.offering("architectures", "mine", len), registry.offering("attacks", "mine", max):
        assert (registry.load("architectures", "mine"), registry.load("attacks", "mine")) == (len, max)
        assert "mine" not in registry.names("architectures")
    with pytest.raises(UnknownNameError):
        registry.load("architectures", "mine")


def others(kind: registry.Kind) -> str:
    """Names as a sentence can hold them."""
    known = registry.names(kind)
    return f"known: {', '.join(known)}" if len(known) <= FEW else f"bench list {kind} shows them all"


def test_an_unknown_name_among_many_is_answered_without_all_of_them() -> None:
    for kind in ("models", "attacks", "metrics"):
        with pytest.raises(UnknownNameError) as caught:
            registry.load(kind, "qqqq")
        assert str(caught.value).endswith(f"got 'qqqq'; bench list {kind} shows them all")


def test_a_meaning_is_inherited_across_files_and_read_without_importing(folder: Path) -> None:
    shared = ATTACK.replace("NAME", "_Walk").replace(
        "    steps: int = 3\n",
        """    steps: int = 3
    \"\"\"Steps of
    the walk.\"\"\"
    pace: int = 1
""",
    )
    (folder / "_walks.py").write_text(shared)
    own = '''"""Walks."""
from planted._walks import _Walk as Walk

class Slow(Walk):
    """Walks slowly.

    Source:
        nobody. Differs: nothing.
    """

    pace: int = 2
    """Pixels of a step."""
    unsaid: int = 3
'''
    (folder / "slow.py").write_text(own)
    text, meanings = registry.definition("attacks", "slow")
    assert text.startswith("Walks slowly.")
    assert meanings == {"steps": "Steps of the walk.", "pace": "Pixels of a step."}
    assert "planted.slow" not in sys.modules


def test_a_new_file_is_a_new_plugin(folder: Path) -> None:
    (folder / "still_image.py").write_text(ATTACK)
    (folder / "_shared.py").write_text("raise RuntimeError('no plug-in')")
    assert registry.names("attacks") == ["still-image"]
    assert registry.summary("attacks", "still-image") == "Moves nothing."
    assert "planted.still_image" not in sys.modules, "a summary must not import"
    assert issubclass(registry.load("attacks", "still-image"), Attack)
    chosen = registry.instantiate("attacks", Component(name="still-image", params={"steps": 7}))
    assert chosen.steps == 7
    assert registry.instantiate("attacks", Component(name="still-image")).steps == 3


def test_a_parameter_without_a_type_is_shown_by_its_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "odd_one.py").write_text("def build(num_classes, *, width=3):\n    return None\n")
    told = registry.describe("architectures", "odd-one")
    assert {name: said["value"] for name, said in told["parameters"].items()} == {
        "num_classes": "any", "width": "any = 3",
    }  # fmt: skip
    assert told["version"] == 1
