"""`bench study` from the command line, with a worker process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import registry
from tests.support.commands import invoke
from tests.support.sweeps import Backwards

TINY = [
    "boundary-tilting", "--set", "seeds=1", "--set", "points=20", "--set", "epochs=1", "--set", "radii=[0.0,0.125]",
]  # fmt: skip


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


def test_an_interrupted_study_continues_and_its_records_are_verified(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study", *TINY, "--results", str(results), "--device", "cpu", "--json"]
    code, out, _ = invoke(capsys, *words, "--dry-run")
    assert (code, len(json.loads(out)["pieces"])) == (0, 2)
    code, out, _ = invoke(capsys, *words, "--limit", "1")
    (first,) = json.loads(out)["pieces"]
    before = Path(first).read_bytes()
    with registry.offering("executors", "inline", Backwards):
        code, out, _ = invoke(capsys, *words, "--executor", "inline")
        assert code == 0
        assert json.loads(out)["pieces"][0] == first
        assert Path(first).read_bytes() == before
    code, out, _ = invoke(capsys, *words, "--dry-run")
    assert json.loads(out)["pieces"] == []
    code, out, _ = invoke(capsys, "verify", str(results))
    assert (code, "3 of 3 checks passed" in out) == (0, True)
    Path(first).write_bytes(before.replace(b'"seed":0', b'"seed":1'))
    assert invoke(capsys, "verify", str(results))[0] == 3


def test_a_failed_piece_ends_the_command_with_1(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with registry.offering("executors", "inline", Backwards):
        words = ["retrain", "--set", 'networks=["natural-wrn28"]', "--set", 'attributions=["gradient"]']
        words += ["--set", "shares=[0.9,0.1]", "--set", "seeds=1", "--executor", "inline", "--results", str(results)]
        code, _, said = invoke(capsys, *words)
    assert code == 1
    assert "rising shares between 0 and 1" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["retrian"], "did you mean 'retrain'"),
        (["retrain", "--limit", "0"], "at least 1 piece"),
        (["retrain", "--set", "seeds=0"], "seeds"),
        (["retrain", "--executor", "nowhere"], "expected the name of one of the executors"),
    ],
)
def test_wrong_words_are_one_sentence(
    results: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    code, _, said = invoke(capsys, "study", *words, "--results", str(results))
    assert code == 2
    assert sentence in said
    assert not results.exists()
