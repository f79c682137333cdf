"""Rules for imports between modules, read from the syntax trees.

They include modules that the command line and the pages must never import.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch

from bench.run.attack.search import Attacked
from bench.run.shards import Effort, Shards
from bench.sweeps.status import Manifest, write_manifest
from tests.support.factories import model_entry, run_spec

ROOT = Path(__file__).parent.parent
OWN = ("bench", "model_zoo", "attacks", "metrics", "leaderboard")
ALLOWED = {
    "bench.core": (),
    "bench.registry": ("bench.core",),
    "bench.attributions": ("bench.core",),
    "bench.data": ("bench.core",),
    "bench.executors": ("bench.core",),
    "bench.flags": ("bench.core",),
    "bench.studies": ("bench.core", "bench.registry", "model_zoo", "leaderboard", "bench.api"),
    "attacks": ("bench.core",),
    "metrics": ("bench.core",),
    "model_zoo": ("bench.core", "bench.registry"),
    "leaderboard": ("bench.core", "bench.registry"),
}
"""Per folder, what it may import of ours beside itself; modules of no folder named here are the top floor."""
BY_NAME = {"import_module", "__import__", "importlib", "importlib.util", "importlib.machinery", "runpy", "pkgutil"}


class Import(NamedTuple):
    """One imported module."""

    line: int
    name: str
    on_import: bool


def imports(root: Path, path: Path) -> list[Import]:
    """List the modules that a file imports.

    Relative names are resolved, and submodules told from attributes.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = path.relative_to(root).parent.parts
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (*package[: len(package) - node.level + 1], node.module) if node.level else (node.module,)
            module = ".".join(part for part in base if part)
            named = [f"{module}.{a.name}" if _is_module(root, f"{module}.{a.name}") else module for a in node.names]
        else:
            continue
        found += [Import(node.lineno, name, node in tree.body) for name in named]
    return sorted(set(found))


def _is_module(root: Path, name: str) -> bool:
    path = root.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def files(root: Path) -> Iterator[tuple[str, Path]]:
    """Our modules: dotted name and file."""
    for package in OWN:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def direction_violations(root: Path) -> list[str]:
    """List imports from a lower floor to a higher one, or sideways."""
    found = []
    for module, path in files(root):
        floor = next((f for f in ALLOWED if within(module, f)), None)
        if floor is None:
            continue
        for line, name, _ in imports(root, path):
            ours = any(within(name, own) for own in OWN)
            if ours and not any(within(name, allowed) for allowed in (floor, *ALLOWED[floor])):
                found.append(f"{path.relative_to(root)}:{line} imports {name}, which {floor} must not know")
    return found


def torch_in_leaderboard(root: Path) -> list[str]:
    """List imports in `leaderboard` that reach torch, directly or not."""
    graph = {module: imports(root, path) for module, path in files(root)}

    def reaches(name: str, seen: set[str]) -> bool:
        if within(name, "torch") or within(name, "torchvision"):
            return True
        if name in seen:
            return False
        seen.add(name)
        return any(reaches(i.name, seen) for i in graph.get(name, ()) if i.on_import)

    return [
        f"{path.relative_to(root)}:{line} imports {name}, which brings torch"
        for module, path in files(root)
        if within(module, "leaderboard")
        for line, name, _ in imports(root, path)
        if reaches(name, set())
    ]


def circle(root: Path) -> list[str]:
    """Return the first circle of imports, or an empty list.

    Imports inside functions count, too.
    """
    found = dict(files(root))
    sorter = TopologicalSorter({m: {i.name for i in imports(root, p)} & found.keys() - {m} for m, p in found.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def imports_by_name(root: Path) -> list[str]:
    """Files other than the registry that import modules whose names are strings."""
    found = []
    for _, path in files(root):
        if path.parent == root / "bench" / "registry":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = [(line, name) for line, name, _ in imports(root, path) if name in BY_NAME]
        for node in ast.walk(tree):
            if isinstance(node, ast.Name | ast.Attribute):
                name = node.id if isinstance(node, ast.Name) else node.attr
                used += [(node.lineno, name)] if name in BY_NAME - {"importlib"} else []
        found += [f"{path.relative_to(root)}:{line} uses {name}; only bench/registry may" for line, name in used]
    return found


def undeclared(root: Path, declared: set[str]) -> list[str]:
    """Imports of distributions that pyproject.toml does not name."""
    providers = packages_distributions()
    found = []
    for _, path in files(root):
        for line, name, _ in imports(root, path):
            top = name.split(".")[0]
            distributions = {d.lower().replace("_", "-") for d in providers.get(top, [top])}
            if top not in sys.stdlib_module_names and top not in OWN and not distributions & declared:
                found.append(f"{path.relative_to(root)}:{line} imports {top}, which pyproject.toml does not declare")
    return found


def test_imports_point_down() -> None:
    assert not direction_violations(ROOT)


def test_no_modules_import_each_other() -> None:
    assert not circle(ROOT)


def test_leaderboard_never_reaches_torch() -> None:
    assert not torch_in_leaderboard(ROOT)


def test_only_the_registry_imports_by_name() -> None:
    assert not imports_by_name(ROOT)


def test_packages_of_the_machine_and_its_vocabulary_import_nothing() -> None:
    early = [i.name for i in imports(ROOT, ROOT / "bench" / "__init__.py") if i.on_import]
    assert early == ["typing"]
    assert not (ROOT / "bench" / "core" / "__init__.py").read_text().strip(), "bench.core must stay empty"


def test_every_imported_package_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: wanted for name, wanted in project["optional-dependencies"].items() if name != "dev"}
    wanted = [*project["dependencies"], *(d for extra in extras.values() for d in extra)]
    declared = {d.split(">")[0].split("=")[0].strip().lower().replace("_", "-") for d in wanted}
    assert not undeclared(ROOT, declared)


def test_packages_of_extras_are_imported_only_when_they_are_asked_for() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys() - {"dev"}
    assert extras
    early = [(path, i.name) for _, path in files(ROOT) for i in imports(ROOT, path) if i.on_import]
    assert not [(path, name) for path, name in early if name.split(".")[0] in extras]


@pytest.mark.parametrize(
    ("file", "text", "violation"),
    [
        ("bench/core/planted.py", "\nimport attacks.pgd", "bench/core/planted.py:2 imports attacks.pgd,"),
        ("bench/core/planted.py", "from bench import registry", "bench/core/planted.py:1 imports bench.registry,"),
        ("bench/core/planted.py", "from ..registry import names", "bench/core/planted.py:1 imports bench.registry,"),
        ("attacks/planted.py", "def f():\n    import metrics.cosine", "attacks/planted.py:2 imports metrics.cosine,"),
        ("metrics/planted.py", "from bench.attributions import a", "metrics/planted.py:1 imports bench.attributions,"),
        ("bench/data/planted.py", "import bench.attributions", "bench/data/planted.py:1 imports bench.attributions,"),
        ("model_zoo/deep/planted.py", "import bench.cli", "model_zoo/deep/planted.py:1 imports bench.cli,"),
        ("leaderboard/planted.py", "import model_zoo.hub", "leaderboard/planted.py:1 imports model_zoo.hub,"),
    ],
)
def test_a_planted_upward_import_is_found(tmp_path: Path, file: str, text: str, violation: str) -> None:
    plant(tmp_path, {"bench/registry/__init__.py": "", file: text})
    assert [v for v in direction_violations(tmp_path) if v.startswith(violation)]


def test_a_planted_torch_in_the_leaderboard_is_found(tmp_path: Path) -> None:
    core = {"bench/core/maps.py": "import torch", "bench/core/files.py": "def f():\n    import torch"}
    pages = "from bench.core.maps import m\nfrom bench.core import files\ndef f():\n    import torch.nn"
    plant(tmp_path, core | {"leaderboard/pages/render.py": pages})
    assert [v.split(",")[0] for v in torch_in_leaderboard(tmp_path)] == [
        "leaderboard/pages/render.py:1 imports bench.core.maps",
        "leaderboard/pages/render.py:4 imports torch.nn",
    ]


def test_a_planted_circle_is_found_even_if_a_function_closes_it(tmp_path: Path) -> None:
    one, other = "from model_zoo import b", "def f():\n    from model_zoo.a import one"
    plant(tmp_path, {"model_zoo/a.py": one, "model_zoo/b.py": other})
    assert set(circle(tmp_path)) == {"model_zoo.a", "model_zoo.b"}


@pytest.mark.parametrize(
    "text",
    ["from importlib import import_module as i", "import importlib.util", "a = __import__('os')", "import runpy"],
)
def test_a_planted_import_by_name_is_found(tmp_path: Path, text: str) -> None:
    plant(tmp_path, {"bench/registry/lookup.py": text, "bench/run/steps.py": text})
    assert imports_by_name(tmp_path)
    assert all(v.startswith("bench/run/steps.py:1 ") for v in imports_by_name(tmp_path))


def test_a_planted_undeclared_package_is_found(tmp_path: Path) -> None:
    plant(tmp_path, {"attacks/a.py": "import json\nimport numpy as np\nimport yaml\nimport attacks.b"})
    assert undeclared(tmp_path, {"numpy"}) == ["attacks/a.py:3 imports yaml, which pyproject.toml does not declare"]


def plant(root: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


EVERY_PAGE = "import bench.registry, bench.core.storage.store, leaderboard, pkgutil, importlib\n" + (
    "for m in pkgutil.walk_packages(leaderboard.__path__, 'leaderboard.'): importlib.import_module(m.name)\n"
)
COMMAND = "import runpy\nsys.argv = ['bench', {words}]\n" + (
    "try: runpy.run_module('bench.cli', run_name='__main__')\nexcept SystemExit as end: assert not end.code, end.code\n"
)


def without_torch(text: str, **environment: str) -> str:
    """What a program prints that must not import torch."""
    script = f"import sys\n{text}\nassert 'torch' not in sys.modules, 'torch was imported'"
    where: dict[str, Any] = {"cwd": ROOT, "env": os.environ | environment}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, **where)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "text",
    [EVERY_PAGE, COMMAND.format(words="'list', 'models'"), COMMAND.format(words="'list', 'attacks'")],
    ids=["registry, store and pages", "bench list models", "bench list attacks"],
)
def test_torch_stays_unimported(text: str) -> None:
    without_torch(text)


def test_bench_status_reads_the_shards_of_a_sweep_without_torch(tmp_path: Path) -> None:
    spec, work, count = run_spec(model_entry()), tmp_path / "work", 2
    flags, numbers = torch.ones(count, 1).bool(), torch.ones(count)
    shards = Shards(spec, work)
    images, kept = torch.ones(count, 1, 3, 4, 4), flags[:, 0].clone()
    attacked = Attacked(images, flags, numbers.long(), numbers.long(), kept, numbers)
    shards.keep_attacked(0, attacked, Effort(1.5))
    shards.keep_measured(0, pd.DataFrame({"sample_id": ["a", "b"]}), Effort(0.5))
    write_manifest(work, Manifest(results=tmp_path / "results", runs=((spec, (count, count)),)))
    said = without_torch(COMMAND.format(words="'status', '--json'"), BENCH_CACHE=str(tmp_path))
    (run,) = json.loads(said)[0]["runs"]
    assert (run["done"], run["images"]) == (count, 2 * count)
