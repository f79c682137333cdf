"""Finding plug-ins by name, and the errors of bad ones.

Plug-ins lie in folders, TOML files and other people's packages.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from bench import registry
from bench.core.contracts import Attack
from bench.core.errors import FEW, PluginFault, UnknownNameError, UsageError, blamed_on
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Component
from tests.support.planted import plugins_in

ROOT = Path(__file__).parent.parent
KINDS: tuple[registry.Kind, ...] = get_args(registry.Kind)
ENTRY = """
name = "tiny"
title = "A tiny network"
dataset = "cifar10"
num_classes = 10
mean = [0.5]
std = [0.25]
license = "MIT"
added = 2026-01-01
architecture = { name = "wide-resnet", params = { depth = 10 } }
weights = { file = "tiny.safetensors", sha256 = "SHA", size = 1 }
training = { method = "natural" }
""".replace("SHA", "0" * 64)
ATTACK = '''"""Moves nothing."""
from typing import ClassVar
from pydantic.dataclasses import dataclass
from bench.core.contracts import Attack

@dataclass(frozen=True, kw_only=True)
class NAME(Attack):
    knowledge: ClassVar[str] = "none"
    source: ClassVar[str] = "nobody"
    steps: int = 3

    def perturb(self, victim, images, labels, *, threat, rng):
        return images
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty package `planted` in place of the attacks' folder.

    Its `entries` replace the models' folder.
    """
    package = tmp_path / "planted"
    (package / "entries").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    places: dict[registry.Kind, registry.Python | registry.Toml] = {
        "attacks": registry.Python("planted", "Attack", parameters=True),
        "architectures": registry.Python("planted", None),
        "models": registry.Toml("planted", "entries", ModelEntry),
    }
    with plugins_in(places):
        yield package
    for module in [m for m in sys.modules if m.split(".")[0] == "planted"]:
        del sys.modules[module]


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


def test_a_parameter_without_a_type_is_shown_by_its_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "odd_one.py").write_text("def build(num_classes, *, width=3):\n    return None\n")
    told = registry.describe("architectures", "odd-one")
    assert {name: said["value"] for name, said in told["parameters"].items()} == {
        "num_classes": "any", "width": "any = 3",
    }  # fmt: skip
    assert told["version"] == 1


def test_an_architecture_without_build_is_refused(folder: Path) -> None:
    (folder / "odd_one.py").write_text("BUILD = 1")
    with pytest.raises(UsageError, match=r"odd_one\.py: expected a function build"):
        registry.load("architectures", "odd-one")


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


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with the installed package `foreign`.

    It offers an attack and a model.
    """
    package, info = tmp_path / "foreign", tmp_path / "foreign_attacks-1.2.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text(
        "from pathlib import Path\nMODEL = Path(__file__).parent / 'tiny.toml'\nODD = MODEL.with_name('odd.toml')\n"
    )
    (package / "still.py").write_text(ATTACK)
    (package / "net.py").write_text("def build(num_classes): pass")
    (package / "tiny.toml").write_text(ENTRY)
    (package / "odd.toml").write_text(ENTRY.replace("size = 1", "size = 0").replace('"tiny"', '"odd"'))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-attacks\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[attribution_bench.attacks]\nforeign-still = foreign.still:NAME\nbroken = foreign.missing:NAME\n"
        "number = foreign.still:__doc__\nmodule = foreign.still\nempty = foreign\n[attribution_bench.architectures]\n"
        "net = foreign.net\n[attribution_bench.models]\ntiny = foreign:MODEL\nodd = foreign:ODD\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    "script",
    [
        "assert 'foreign-still' in registry.names('attacks')\nassert len(registry.names('attacks')) > 1",
        "assert registry.summary('attacks', 'foreign-still') == 'from foreign-attacks'\n"
        "assert 'foreign' not in sys.modules",
        "attack = registry.instantiate('attacks', Component(name='foreign-still', params={'steps': 5}))\n"
        "assert attack.steps == 5 and type(attack).__module__ == 'foreign.still'",
        "assert registry.load('models', 'tiny').title == 'A tiny network'",
        "refuses(r'odd\\.toml: weights\\.size', registry.load, 'models', 'odd')",
        "refuses(r\"did you mean 'foreign-still'\", registry.load, 'attacks', 'foreign-stil')",
    ],
)
def test_an_installed_package_adds_plugins(elsewhere: Path, script: str) -> None:
    run_beside(elsewhere, script)


PREAMBLE = """
import re, sys
from bench import registry
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Component
from tests.support.planted import plugins_in

def refuses(message, function, *args):
    try:
        function(*args)
    except UsageError as error:
        assert re.search(message, str(error)), error
    else:
        raise AssertionError('no refusal')

"""


def run_beside(elsewhere: Path, script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + script],
        cwd=ROOT,
        env={"PYTHONPATH": str(elsewhere), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_an_entry_point_that_names_a_module_is_told_what_to_name(elsewhere: Path) -> None:
    run_beside(
        elsewhere,
        "attack = 'expected a class of Attack, got the module foreign.still; name foreign.still:NAME in its'\n"
        "refuses(attack, registry.load, 'attacks', 'module')\n"
        "refuses('got the module foreign; mend', registry.load, 'attacks', 'empty')\n"
        "refuses('got the module foreign.net; name foreign.net:build in its', registry.load, 'architectures', 'net')",
    )


@pytest.mark.parametrize("name", ["broken", "number"])
def test_an_entry_point_that_is_no_plugin_is_refused_by_name(elsewhere: Path, name: str) -> None:
    run_beside(elsewhere, f"refuses(r'{name}.*foreign', registry.load, 'attacks', '{name}')")
