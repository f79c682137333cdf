"""`bench submit run` and `bench submit publish`: the files tell the truth."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from bench.checks.check import Check
from bench.commands.plugins import show_lists, show_plugin
from bench.commands.run import run
from bench.commands.submit import show_check_table
from bench.commands.verify import show_checks
from bench.core.errors import IntegrityError
from bench.core.schemas.entry import ModelEntry
from bench.core.storage.files import sha256_of_file
from bench.core.storage.toml import parse_toml
from bench.core.text import printable
from bench.submission.card import accuracy_lines, escaped, eval_results, fenced
from bench.submission.measure import confirm
from bench.submission.publish import pull_request, records_of, write_folder
from bench.terminal import console
from tests.support.commands import invoke
from tests.support.factories import model_entry, store_run
from tests.support.tiny import residual_content, write_entry


def test_run_is_bench_run_with_the_entry(
    tmp_path: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(run, "callback", lambda **given: seen.update(given))
    path = write_entry(tmp_path, content)
    words = ("--attack", "ifia-topk", "--limit", "3", "--protocol", "cifar10-linf8-v1", "--json")
    assert invoke(capsys, "submit", "run", str(path), *words)[0] == 0
    assert (seen["model"], seen["attacks"], seen["limit"]) == (f"file:{path}", ("ifia-topk",), 3)
    assert (seen["protocol"], seen["as_json"]) == ("cifar10-linf8-v1", True)
    assert invoke(capsys, "submit", "run", "hub:me/net", "--limit", "x")[0] == 2


def test_run_measures_the_accuracy_and_writes_it_into_the_entry(
    tmp_path: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "callback", lambda **_: None)
    honest = content.pop("accuracy")["clean"]
    path = write_entry(tmp_path, content | {"claimed": {"clean": honest, "images": 20}})
    code, _, err = invoke(capsys, "submit", "publish", str(path), "--repo", "me/net", "--dry-run")
    assert code == 2
    assert "expected a measured clean accuracy" in err
    assert f"`bench submit run {path}` measures it in seconds" in err
    assert invoke(capsys, "submit", "run", str(path))[0] == 0
    entry = parse_toml(path, ModelEntry)
    assert entry.accuracy is not None
    assert (entry.accuracy.clean, entry.accuracy.images) == (honest, 20)
    assert entry.claimed is not None
    assert entry.claimed.clean == honest

    path = write_entry(tmp_path, content | {"claimed": {"clean": 0.9999}})
    code, _, err = invoke(capsys, "submit", "run", str(path))
    assert code == 3
    assert "from the claimed 99.99%" in err
    assert parse_toml(path, ModelEntry).accuracy is None


def test_an_accuracy_as_by_chance_is_doubted_unless_it_is_claimed() -> None:
    silent = model_entry(accuracy=None, claimed={"statement": "high"})
    with pytest.raises(IntegrityError, match=r"2 of 20 .* as by chance .* likely causes: a wrong"):
        confirm(2, 20, silent)
    assert confirm(12, 20, silent).startswith("12 of 20 test images correct")
    assert confirm(2, 20, model_entry(accuracy=None, claimed={"clean": 0.1})).startswith("2 of 20")


def test_cards_name_what_is_measured_and_what_is_claimed() -> None:
    entry = model_entry(accuracy={"images": 1000, "clean": 0.5}, claimed={"clean": 0.788, "statement": "in the README"})
    assert accuracy_lines(entry) == [
        "Clean accuracy, measured: 50.00% of 1000 test images.",
        "Clean accuracy, claimed by its authors: 78.80% in the README.",
    ]
    names = {result.metric_name for result in eval_results(entry, [])}
    assert names == {"clean accuracy, measured"}


def test_publish_refuses_a_model_that_fails_a_check(
    tmp_path: Path, content: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_entry(tmp_path, content | {"citation": ""})
    code, out, _ = invoke(capsys, "submit", "publish", str(path), "--repo", "me/net", "--dry-run")
    assert code == 2
    assert "10 of 11 checks passed" in out
    assert not (tmp_path / "published").exists()


@dataclass
class Model:
    """An entry, its weights, and a run of exactly them."""

    entry: ModelEntry
    weights: Path
    results: Path


@pytest.fixture
def model(tmp_path: Path) -> Model:
    content = residual_content(tmp_path) | {
        "title": "*bold* <b>[link](javascript:x)</b>\u202e",
        "license": "Odd Licence",
        "citation": "@misc{me, note={```\n# Break out}}",
        "accuracy": {"images": 10_000, "clean": 0.5},
    }
    entry = ModelEntry.model_validate(content)
    store_run(tmp_path / "results", entry)
    store_run(tmp_path / "results", model_entry("another"))
    return Model(entry, tmp_path / "tiny.safetensors", tmp_path / "results")


def test_the_folder_is_what_the_hub_expects(model: Model, tmp_path: Path) -> None:
    records = records_of(model.entry, model.results)
    assert [record.entry.name for record in records] == ["tiny"]
    write_folder(model.entry, model.weights, records, "me/tiny", tmp_path / "hub")
    assert sha256_of_file(tmp_path / "hub" / "tiny.safetensors") == model.entry.weights.sha256
    assert parse_toml(tmp_path / "hub" / "entry.toml", ModelEntry) == model.entry

    card = ModelCard.load(tmp_path / "hub" / "README.md")
    (summary,) = [r.summaries["correct"]["kendall"] for r in records]
    (kendall,) = [r for r in card.data.eval_results or [] if r.metric_type == "kendall"]
    assert kendall.metric_value == summary.mean
    assert kendall.metric_args["low"] == summary.low
    assert kendall.dataset_config == "cifar10-linf8-v1"
    assert kendall.verified is None, "the Hub's to set"
    assert (card.data.model_name, card.data.license, card.data.license_name) == ("tiny", "other", "odd-licence")
    assert "<b>" not in card.text
    assert "\u202e" not in card.text
    assert card.text.count("````") == 2, "the citation cannot close its block"

    text = (tmp_path / "hub" / ".eval_results" / "attribution-bench.yaml").read_text()
    (result,) = parse_eval_result_entries(yaml.safe_load(text))
    assert (result.value, result.task_id) == (summary.mean, "cifar10-linf8-v1.ifia-topk.kendall")
    assert result.verify_token is None


def test_the_pull_request_pins_the_entry_and_tells_checks_and_numbers(model: Model) -> None:
    records, commit = records_of(model.entry, model.results), "a" * 40
    answers = [Check("x", "name", True, "free"), Check("x", "logits", True, "`x` | </details>")]
    text = pull_request(model.entry, answers, records, "me/tiny", commit)
    assert text.startswith("Register tiny\n\n")
    assert "- [x] name: free" in text
    assert "</details>" not in text.replace("\\<", "")
    assert f"`hub:me/tiny@{commit}`" in text
    assert f"{records[0].summaries['correct']['kendall'].mean:.3f} [" in text
    (toml,) = re.findall(r"\n(`{3,})toml\n(.*?)\n\1\n", text, flags=re.DOTALL)
    entry = ModelEntry.model_validate(tomllib.loads(toml[1]))
    assert (entry.weights.repo, entry.weights.revision) == ("me/tiny", commit)
    assert entry.citation == model.entry.citation

    unpublished = pull_request(model.entry, answers, records, "me/tiny", None)
    assert "not uploaded yet" in unpublished
    assert "revision" not in unpublished


def test_the_text_of_strangers_cannot_steer(capsys: pytest.CaptureFixture[str]) -> None:
    assert escaped("a*b_[c](d)`e`\n# f") == r"a\*b\_\[c\]\(d\)\`e\` \# f"
    assert fenced("a\n````\nb").startswith("`````\n")
    assert printable("a\x1b[2J\u202eb\rc\n") == "a\ufffd[2J\ufffdb\ufffdc\n"
    hostile = Check("x", "[bold]q[/bold]", False, "\x1b[2J[link=http://x]y[/link]", 1)
    show_checks([hostile])
    show_check_table([hostile])
    console.show_error("\x1b]0;title\x07 [red]")
    show_lists({"models": [{"name": "a", "summary": "\x1b[31m[red]"}]})
    show_plugin("models", "a", {"title": "\x1b[31m[red]"})
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert shown.count("[red]") == 3
    assert "[link=http://x]" in shown
