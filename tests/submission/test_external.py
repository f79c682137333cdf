"""Images that anybody submits are judged like any attack's.

A bad file is one sentence; a good one moves the ledger.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner
from pydantic import ValidationError

from bench import registry
from bench.checks.records import verify_results
from bench.cli import bench
from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.protocol import Component, Protocol
from bench.core.schemas.spec import AttackSpec
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from bench.run.execution import Execution
from bench.run.samples import load_samples
from bench.run.shards import Shards
from bench.run.steps import run
from bench.submission import perturbed
from bench.submission.external import judge_submission
from leaderboard.build import build
from leaderboard.records.ledger import accounts
from tests.support.short_runs import asked, planned
from tests.support.tiny import residual_content, tiny_network, write_entry, write_protocol
from tests.support.watcher import Watcher

COUNT = 5
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("words")
    return {
        "model": f"file:{write_entry(folder, residual_content(folder))}",
        "protocol": str(write_protocol(folder, "short", COUNT, 2)),
    }


@pytest.fixture(scope="module")
def clean(words: dict[str, str]) -> Floats:
    rules: Protocol = registry.load("protocols", words["protocol"])
    dataset = registry.instantiate("datasets", Component(name=rules.samples.source))
    return load_samples(rules.samples, dataset).images.numpy()


def moved(clean: Floats, radius: float = 8 / 255) -> Floats:
    signs = np.sign(np.random.default_rng(0).normal(size=clean.shape))
    return np.clip(clean + radius * signs, 0, 1).astype(np.float32)


def ids(*numbers: int) -> npt.NDArray[np.str_]:
    return np.array([f"cifar10/test/{number}" for number in numbers])


def submitted(words: dict[str, str], folder: Path, name: str = "mine", **arrays: Any) -> StoredRun:
    path = folder / "images.npz"
    np.savez(path, **arrays)
    return judged(words, folder, path, name).run


def judged(words: dict[str, str], folder: Path, path: Path, name: str = "mine") -> Any:
    execution = Execution(Store(folder / "results"), folder / "work", "cpu")
    return judge_submission(path, name=name, execution=execution, observer=Watcher(), **words)


def test_a_part_of_the_images_is_judged_like_an_attack_s_and_filed(
    words: dict[str, str], clean: Floats, tmp_path: Path
) -> None:
    """The record has rows for these images only.

    Their order is the protocol's, whatever the file's order is.
    """
    images = moved(clean)
    filed = submitted(words, tmp_path, images=images[[4, 1, 3]], ids=ids(4, 1, 3))
    record, rows = filed.record, filed.rows()
    assert record.spec.attack.name == "external:mine"
    assert filed.path.parent.name == "external-mine"
    assert list(rows["sample_id"]) == list(ids(1, 3, 4))
    assert (record.samples, record.spec.samples.count, record.spec.samples.of) == (3, 3, COUNT)
    assert not record.spec.on_protocol
    assert {"partial", "off-protocol"} <= {flag.name for flag in record.flags}
    network = tiny_network()
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in ((0.5, 0.4, 0.3), (0.25, 0.2, 0.3)))
    for row in rows.to_dict("records"):
        number = int(row["sample_id"].rsplit("/", 1)[1])
        pair = [torch.from_numpy(each[number : number + 1]) for each in (clean, images)]
        before, after = (int(network((image - mean) / std).argmax()) for image in pair)
        assert row["feasible"] == (before == after)
        assert row["linf"] == pytest.approx(8 / 255 if row["feasible"] else 0, abs=1e-6)
        assert row["predicted_before"] == before


def test_what_an_attack_found_and_what_is_submitted_of_it_have_the_same_values(
    words: dict[str, str], tmp_path: Path
) -> None:
    """The judge sees images, not who made them.

    So the ledger moves only by better images.
    """
    made = planned(words, "random-noise")
    execution = Execution(Store(tmp_path / "results"), tmp_path / "work", "cpu")
    (first,) = run([asked(words, "random-noise")], execution, Watcher())
    parts = [Shards(made.spec, tmp_path / "work").attacked(index, size) for index, size in enumerate((2, 2, 1))]
    images = torch.cat([part.images[:, 0] for part in parts if part is not None]).numpy()
    second = submitted(words, tmp_path, images=images, ids=ids(*range(COUNT)))
    for name in ("kendall", "topk-intersection", "linf"):
        one, other = (each.rows().set_index("sample_id")[name] for each in (first, second))
        kept = first.rows().set_index("sample_id")["feasible"]
        assert np.allclose(one[kept], other[kept], atol=1e-6), name
    runs = [first, second]
    assert all("random-noise" in name for account in accounts(runs) for name in account.found_by)


def test_the_ledger_and_the_site_know_it_but_no_board_ranks_it(
    words: dict[str, str], clean: Floats, tmp_path: Path
) -> None:
    execution = Execution(Store(tmp_path / "results"), tmp_path / "work", "cpu")
    (first,) = run([asked(words, "unchanged")], execution, Watcher())
    second = submitted(words, tmp_path, images=moved(clean), ids=ids(*range(COUNT)))
    (account,) = accounts([first, second])
    feasible = second.rows()["feasible"]
    assert account.found_by.get("external:mine", 0) == int((feasible & (second.rows()["kendall"] < 1)).sum()) > 0
    build(tmp_path / "results", tmp_path / "site")
    site = tmp_path / "site"
    assert not list(site.glob("attacks/external*"))
    assert "external:mine" in (site / "models/tiny.html").read_text()
    assert "bench submit attack FILE.npz" in (site / "models/tiny.html").read_text()


def test_the_same_images_are_one_record_and_a_changed_pixel_is_another(
    words: dict[str, str], clean: Floats, tmp_path: Path
) -> None:
    images = moved(clean)[:2]
    first = submitted(words, tmp_path, images=images, ids=ids(0, 1))
    again = submitted(words, tmp_path, images=images[::-1], ids=ids(1, 0))
    assert again.path == first.path
    assert judged(words, tmp_path, tmp_path / "images.npz").known
    images[0, 0, 0, 0] = clean[0, 0, 0, 0]
    other = submitted(words, tmp_path, images=images.astype(np.float64), ids=ids(0, 1))
    assert other.path != first.path


def test_verify_says_what_it_checked(
    words: dict[str, str], clean: Floats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    filed = submitted(words, tmp_path, images=moved(clean)[[3, 1]], ids=ids(3, 1))
    found = {check.question: check for check in verify_results(tmp_path / "results")}
    assert all(check.ok for check in found.values()), found
    assert "distances from the clean images measured again" in found["images"].detail
    assert "class and maps were not computed again" in found["images"].detail

    path = perturbed.kept_path(tmp_path / "work", filed.record.spec)
    with np.load(path) as arrays:
        changed = arrays["images"].copy()
    changed[0, 0, 0, 0] = 1 - changed[0, 0, 0, 0]
    np.savez(path, images=changed, ids=ids(1, 3))
    (failed,) = [check for check in verify_results(tmp_path / "results") if not check.ok]
    assert (failed.question, failed.exit_code) == ("images", IntegrityError.exit_code)
    path.unlink()
    (skipped,) = [check for check in verify_results(tmp_path / "results") if check.skipped]
    assert "the images are not on this machine" in skipped.detail
    assert submitted(words, tmp_path, images=moved(clean)[[3, 1]], ids=ids(3, 1)).path == filed.path
    assert not [check for check in verify_results(tmp_path / "results") if check.skipped], "submitting keeps them again"


def outside(images: Floats) -> Floats:
    images[:2] = np.where(images[:2] > 0.5, images[:2] - 0.1, images[:2] + 0.1)
    return images


def holed(images: Floats) -> Floats:
    images[1, 0, 0, 0] = np.nan
    return images


BAD: dict[str, tuple[Callable[[Floats], dict[str, Any]], str]] = {
    "no images": (lambda _: {"ids": ids(0)}, "got no images"),
    "no ids": (lambda x: {"images": x}, "got no ids"),
    "another array": (lambda x: {"images": x, "ids": ids(*range(COUNT)), "code": np.zeros(3)}, "got 'code' too"),
    "another shape": (lambda x: {"images": x.transpose(0, 2, 3, 1), "ids": ids(*range(COUNT))}, "(n, 3, 32, 32)"),
    "too many": (lambda x: {"images": np.concatenate([x, x]), "ids": ids(*range(5))}, "n from 1 to 5"),
    "bytes": (lambda x: {"images": (255 * x).astype(np.uint8), "ids": ids(*range(COUNT))}, "divide by 255"),
    "grey levels": (lambda x: {"images": 255 * x, "ids": ids(*range(COUNT))}, "expected pixels in [0, 1]"),
    "not a number": (lambda x: {"images": holed(x), "ids": ids(*range(COUNT))}, "NaN or infinity in 1 image"),
    "outside the ball": (
        lambda x: {"images": outside(x), "ids": ids(*range(COUNT))},
        "2 images of 5 outside, by up to 0.068627",
    ),
    "an unknown id": (lambda x: {"images": x[:2], "ids": ids(0, 9)}, "got 1 others, first 'cifar10/test/9'"),
    "an id twice": (lambda x: {"images": x[:2], "ids": ids(1, 1)}, "got 'cifar10/test/1' twice"),
    "fewer ids": (lambda x: {"images": x[:2], "ids": ids(1)}, "got 1 ids and 2 images"),
    "numbers as ids": (lambda x: {"images": x[:2], "ids": np.arange(2)}, "write them as numpy.array"),
    "objects": (lambda x: {"images": x[:1], "ids": np.array(["a", 1], dtype=object)}, "sample ids as texts"),
    "of another model": (
        lambda x: {"images": x[:1], "ids": ids(0), "model": np.array("pgd-wrn28")},
        "expected images for the model tiny, got a file for 'pgd-wrn28'; name it with --model",
    ),
    "of another protocol": (
        lambda x: {"images": x[:1], "ids": ids(0), "protocol": np.array("cifar10-ig-v3")},
        "expected images for the protocol short-v1",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_does_not_fit_is_one_sentence_with_a_remedy(
    words: dict[str, str], clean: Floats, tmp_path: Path, what: str
) -> None:
    arrays, said = BAD[what]
    with pytest.raises(UsageError) as caught:
        submitted(words, tmp_path, **arrays(clean.copy()))
    message = str(caught.value)
    assert said in message
    assert ";" in message, "the remedy"
    assert "\n" not in message
    assert not (tmp_path / "results").exists(), "nothing is filed"


def test_a_file_that_is_no_archive_runs_no_code(words: dict[str, str], tmp_path: Path) -> None:
    trap = f"cos\nsystem\n(S'touch {tmp_path / 'ran'}'\ntR.".encode()  # a pickle that runs a command
    path = tmp_path / "images.npz"
    for content in (trap, b"", b"PK\x03\x04 broken", b"<html>"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"expected an \.npz archive"):
            judged(words, tmp_path, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", trap)
        archive.writestr("ids.npy", b"")
    with pytest.raises(UsageError, match=r"expected an \.npz archive"):
        judged(words, tmp_path, path)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UsageError, match="got no file"):
        judged(words, tmp_path, tmp_path / "none.npz")


def test_a_bomb_is_refused_by_its_header(words: dict[str, str], tmp_path: Path) -> None:
    """An array of many gigabytes is not unpacked."""
    path = tmp_path / "images.npz"
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**9, 3, 32, 32)}
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("images.npy", "w") as member:
            np.lib.format.write_array_header_1_0(member, header)
        with archive.open("ids.npy", "w") as member:
            np.lib.format.write_array(member, ids(0))
    with pytest.raises(UsageError, match="n from 1 to 5"):
        judged(words, tmp_path, path)


@pytest.mark.parametrize("name", ["Mine", "a b", "<script>", "../up", "a:b", "x" * 81, ""])
def test_a_name_has_plain_letters(words: dict[str, str], clean: Floats, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="choose another with --name"):
        submitted(words, tmp_path, name, images=clean, ids=ids(*range(COUNT)))


@pytest.mark.parametrize("name", ["external:", "external:<b>", "external:a/b", "external:external:a", "other:a", "a:b"])
def test_no_record_holds_another_kind_of_name(name: str) -> None:
    """Check that no forged record brings its own text to pages."""
    with pytest.raises(ValidationError):
        AttackSpec(name=name, version=1, params={})


def test_a_protocol_whose_rules_images_cannot_show_is_refused(
    words: dict[str, str], clean: Floats, tmp_path: Path
) -> None:
    text = Path(words["protocol"]).read_text().replace('knowledge = "white-box"', 'knowledge = "black-box"')
    path = tmp_path / "dark-v1.toml"
    path.write_text(text.replace('name = "short"', 'name = "dark"', 1))
    with pytest.raises(UsageError, match="which nobody can see from images"):
        submitted(words | {"protocol": str(path)}, tmp_path, images=clean, ids=ids(*range(COUNT)))


def test_a_model_of_another_data_set_is_refused(words: dict[str, str], clean: Floats, tmp_path: Path) -> None:
    other = write_entry(tmp_path, residual_content(tmp_path, "digits") | {"dataset": "mnist"})
    with pytest.raises(UsageError, match="expected a model of cifar10"):
        submitted(words | {"model": f"file:{other}"}, tmp_path, images=clean, ids=ids(*range(COUNT)))


def test_the_command_prints_the_judged_values(
    words: dict[str, str], clean: Floats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    path = tmp_path / "images.npz"
    np.savez(path, images=moved(clean), ids=ids(*range(COUNT)), model="tiny")
    command = ["submit", "attack", str(path), "--name", "mine", "--results", str(tmp_path / "results")]
    command += ["--model", words["model"], "--protocol", words["protocol"], "--device", "cpu"]
    done = CliRunner().invoke(bench, command)
    assert done.exit_code == 0, done.output
    assert "external:mine" in done.output
    assert "bench ledger" in done.output
    record = json.loads(CliRunner().invoke(bench, [*command, "--json"]).stdout)
    assert record["spec"]["attack"]["params"]["images"] == COUNT
