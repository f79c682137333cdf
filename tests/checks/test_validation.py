"""What a pull request must be, and when a second run agrees."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from bench import registry
from bench.checks.derived_flags import derive_anew
from bench.checks.repository import TRANSFER, changes, validate
from bench.checks.second_run import MEAN_TOLERANCE, confirm
from bench.cli import bench
from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.records import Environment
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from tests.support.factories import model_entry, store_run

ROOT = Path(__file__).parent.parent.parent
ELSEWHERE = Environment(
    python="3.12", packages={}, platform="Linux", device="cuda", hardware="another machine", commit=None, dirty=None,
    batch_size=8, started="2026-02-03T04:05:06+00:00", seconds=1.0,
)  # fmt: skip


def failures(results: Path, base: str | None = None) -> list[tuple[str, str]]:
    return [(check.question, check.detail) for check in validate(results, base) if not check.ok]


def test_the_repository_s_own_records_and_entries_pass() -> None:
    assert failures(ROOT / "results") == []


def test_a_model_nobody_registered_and_weights_newer_than_the_entry_are_refused(tmp_path: Path) -> None:
    store_run(tmp_path, model_entry("nobody-wrn28"))
    known: ModelEntry = registry.load("models", "art-wrn28")
    store_run(tmp_path, model_entry("art-wrn28", added="2999-01-01"))
    found = [detail for question, detail in failures(tmp_path) if question == "model"]
    assert len(found) == 2
    assert "nobody-wrn28" in found[1]
    assert f"no newer than the entry of {known.name}" in found[0]


def test_a_model_with_records_whose_accuracy_is_claimed_alone_is_refused(tmp_path: Path) -> None:
    store_run(tmp_path, model_entry("art-wrn28"))
    known: ModelEntry = registry.load("models", "art-wrn28")
    doubtful = model_entry("art-wrn28", weights=known.weights, accuracy=None, claimed={"clean": 0.9999})
    assert "measured accuracy" not in [question for question, _ in failures(tmp_path)]
    with registry.offering("models", "art-wrn28", doubtful):
        (detail,) = [detail for question, detail in failures(tmp_path) if question == "measured accuracy"]
    assert "expected a measured clean accuracy of art-wrn28, which has records, got a claimed one" in detail


def test_a_model_whose_own_test_images_are_missing_may_be_judged_on_another_set(tmp_path: Path) -> None:
    known: ModelEntry = registry.load("models", "wong-svhn-conv-small")
    assert known.accuracy is None
    store_run(tmp_path, known, spec_changes={"protocol": "svhn-to-mnist", "protocol_track": TRANSFER})
    assert "measured accuracy" not in [question for question, _ in failures(tmp_path)]


@pytest.mark.parametrize(
    ("attack", "weights", "found"),
    [("ifia-topk", None, True), ("unchanged", None, False), ("unchanged", "f" * 64, True)],
)
def test_the_same_rows_under_two_runs_are_found_but_for_clean_images_of_one_network(
    tmp_path: Path, attack: str, weights: str | None, found: bool
) -> None:
    run = store_run(tmp_path, model_entry("art-wrn28"), attack)
    record = run.record
    model = record.spec.model.model_copy(update={"weights_sha256": weights} if weights else {})
    spec = record.spec.model_copy(update={"seed": 1, "model": model})
    copied = record.model_copy(update={"spec": spec, "run_id": spec.run_id})
    Store(tmp_path).write(copied, run.rows_path.read_bytes(), None)
    assert ("rows of one run" in [question for question, _ in failures(tmp_path)]) == found


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_records_are_write_once_in_history_too(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    run = store_run(tmp_path / "results", model_entry("art-wrn28"))
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    base = git(tmp_path, "rev-parse", "HEAD")
    store_run(tmp_path / "results", model_entry("art-wrn28"), "random-noise")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "two")
    assert {kind for kind, _ in changes(tmp_path / "results", base)} == {"A"}
    assert "write-once" not in [question for question, _ in failures(tmp_path / "results", base)]
    run.path.write_text(run.path.read_text() + "\n")
    git(tmp_path, "commit", "-qam", "three")
    assert "write-once" in [question for question, _ in failures(tmp_path / "results", base)]


def test_flags_may_be_derived_anew_and_nothing_else_of_a_record(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    run = store_run(tmp_path / "results", model_entry("art-wrn28"), record_changes={"knowledge": "white-box"})
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "one")
    base = git(tmp_path, "rev-parse", "HEAD")
    assert len(list(derive_anew(tmp_path / "results"))) == 1
    git(tmp_path, "commit", "-qam", "two")
    assert [kind for kind, _ in changes(tmp_path / "results", base)] == ["M"]
    assert {"write-once", "flags"}.isdisjoint(question for question, _ in failures(tmp_path / "results", base))
    run.path.write_text(run.path.read_text().replace('"samples":40', '"samples":39', 1))
    git(tmp_path, "commit", "-qam", "three")
    assert "write-once" in [question for question, _ in failures(tmp_path / "results", base)]


@pytest.mark.parametrize("base", ["nowhere", "--output=stolen", "a b"])
def test_a_base_that_is_no_commit_is_a_usage_error(base: str) -> None:
    with pytest.raises(UsageError, match="expected a commit"):
        changes(ROOT / "results", base)


def again(run: StoredRun, folder: Path, shift: float, **changed: object) -> StoredRun:
    """The same spec run elsewhere: every value of kendall is `shift` higher."""
    columns = {"kendall": run.rows()["kendall"] + shift}
    return store_run(folder, run.record.entry, columns=columns, record_changes={"environment": ELSEWHERE} | changed)


def test_a_second_run_that_agrees_is_noted_beside_the_first(tmp_path: Path) -> None:
    run = store_run(tmp_path / "results")
    second = again(run, tmp_path / "again", MEAN_TOLERANCE / 2)
    (check,) = confirm(tmp_path / "results", tmp_path / "again")
    assert check.ok
    note = run.confirmation()
    assert note is not None
    assert note.mean_difference == pytest.approx(MEAN_TOLERANCE / 2)
    assert (note.again_sha256, note.environment) == (second.record.rows_sha256, ELSEWHERE)
    assert [stored.record for stored in Store(tmp_path / "results").runs()] == [run.record], "a note is no record"


@pytest.mark.parametrize("why", ["too far", "a copy", "other rows now"])
def test_what_confirms_nothing(tmp_path: Path, why: str) -> None:
    run = store_run(tmp_path / "results")
    if why == "a copy":
        again(run, tmp_path / "again", 0.0, environment=run.record.environment)
    else:
        again(run, tmp_path / "again", 3 * MEAN_TOLERANCE if why == "too far" else 0.0)
    (check,) = confirm(tmp_path / "results", tmp_path / "again")
    assert check.ok == (why == "other rows now")
    assert run.confirmation_path.exists() == check.ok
    if check.ok:
        text = run.confirmation_path.read_text()
        run.confirmation_path.write_text(text.replace(run.record.rows_sha256, "c" * 64))
        with pytest.raises(IntegrityError, match="others"):
            run.confirmation()


def test_folders_without_a_run_in_common_are_a_usage_error(tmp_path: Path) -> None:
    store_run(tmp_path / "results", model_entry("one"))
    store_run(tmp_path / "again", model_entry("two"))
    with pytest.raises(UsageError, match="same specs"):
        confirm(tmp_path / "results", tmp_path / "again")


def test_the_workflow_parses_and_names_commands_that_exist() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/board.yml").read_text())
    on = workflow[True]  # YAML 1.1 reads `on` as a truth value
    assert {"pull_request", "push"} <= set(on)
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert jobs["publish"]["needs"] == "validate"
    assert "pull_request" in jobs["publish"]["if"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    commands = [line.strip() for step in steps for line in step.get("run", "").splitlines()]
    verbs = {tuple(re.findall(r"^bench (\w+)", line)) for line in commands if line.startswith("bench")}
    assert {("verify",), ("leaderboard",)} <= verbs
    assert all(verb in bench.commands for (verb,) in verbs)
    assert all("${{" not in line for line in commands), "an expression in a script is code that a pull request writes"
    assert all(re.search(r"@v\d+$", step["uses"]) for step in steps if "uses" in step)
    for pattern in on["pull_request"]["paths"]:
        assert (ROOT / pattern.removesuffix("/**")).exists()
