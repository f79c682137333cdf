"""The command line's exit codes, one-sentence errors and JSON on stdout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cli, registry
from bench.checks.doctor import _torchvision
from bench.core.compute import vision
from bench.core.schemas.protocol import Protocol
from tests.support.commands import invoke
from tests.support.factories import model_entry, store_run
from tests.support.planted import plugins_in
from tests.support.tiny import write_protocol


@pytest.mark.parametrize("kind", registry.KINDS)
def test_list_names_every_plugin_with_a_line(capsys: pytest.CaptureFixture[str], kind: registry.Kind) -> None:
    code, out, _ = invoke(capsys, "list", kind, "--json")
    rows = json.loads(out)[kind]
    assert code == 0
    assert [row["name"] for row in rows] == registry.names(kind)
    assert all(row["summary"] for row in rows)


@pytest.mark.parametrize("kind", registry.KINDS)
def test_show_knows_every_plugin(capsys: pytest.CaptureFixture[str], kind: registry.Kind) -> None:
    for name in registry.names(kind):
        code, out, _ = invoke(capsys, "show", name, "--kind", kind, "--json")
        assert code == 0
        assert json.loads(out)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["run", "--model", "hub:nobody"], 2, "expected the name of one of the models"),
        (["run", "--model", "hub:natural-wrn28", "--attack", "x"], 2, "expected the name of one of the attacks"),
        (["run", "--model", "hub:natural-wrn28", "--attack", "file:x"], 2, "expected the name of one of the attacks"),
        (["run", "--model", "hub:natural-wrn28", "--set", "steps"], 2, "KEY=VALUE"),
        (
            ["run", "--model", "hub:natural-wrn28", "--epsilon", "x"],
            2,
            "--epsilon: expected a fraction such as \"8/255\", got 'x'",
        ),
        (["run", "--model", "hub:natural-wrn28", "--epsilon", "8"], 2, "range of a pixel, got 8; write 8/255"),
        (
            ["run", "--model", "hub:natural-wrn28", "--epsilon", "-1/255"],
            2,
            "--epsilon: expected at least 0, got -1/255",
        ),
        (
            ["compare", "--attacks", "auto", "nope", "--protocol", "cifar10-smoke-v1"],
            2,
            "expected the name of one of the attacks, got 'nope'",
        ),
        (["verify", "nowhere/results"], 2, "expected a folder of records or a model, got 'nowhere/results', which is"),
        (["verify", "art-wrn29"], 2, "got 'art-wrn29', which is neither here; did you mean 'art-wrn28'?"),
        (
            ["audit", "art-wrn29"],
            2,
            "expected the name of one of the models, got 'art-wrn29'; did you mean 'art-wrn28'?",
        ),
        (["run", "--model", "art-wrn29"], 2, "expected the name of one of the models, got 'art-wrn29'; did you mean"),
        (["run"], 2, "--model"),
        (["walk"], 2, "No such command"),
        (["verify"], 2, "expected models or a results folder"),
        (["verify", "--base", "HEAD"], 2, "expected --repository beside --base"),
        (["verify", "--repository", "--against", "again"], 2, "expected --repository or --against, got both"),
        (["verify", "--all", "--repository"], 2, "expected --all and --flags without --repository and --against"),
        (["verify", "nowhere", "--against", "again"], 2, "expected one folder of records, got nowhere"),
        (["compare", "--attacks", "auto"], 2, "expected two attacks and --protocol with --attacks, got 1 and no prot"),
        (
            ["compare", "art-wrn28", "pgd-wrn28", "--markdown"],
            2,
            "expected --attacks beside --against, --metric and --markdown",
        ),
        (["verify", "hub:natural-linear", "--device", "tpu"], 2, "expected auto, cpu, cuda or cuda:N"),
        (["verify", "hub:natural-linear", "--device", "cuda:99"], 5, "expected the GPU cuda:99"),
        (["show", "ifia-topq"], 2, "ifia-topk"),
        (["sweep", "--models", "hub:natural-linear", "--executor", "8/255"], 2, "expected the name of one of the exec"),
        (["train", "nothing"], 2, "expected the name of one of the recipes"),
        (["leaderboard", "build", "nowhere", "site"], 2, "nowhere"),
        (["leaderboard", "build", "x" * 300, "site"], 5, "File name too long"),
    ],
)
def test_errors_are_one_sentence_and_the_documented_code(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, sentence: str
) -> None:
    actual, out, err = invoke(capsys, *arguments)
    assert actual == code
    assert sentence in " ".join(err.split())
    assert not out
    assert "Traceback" not in err


def test_doctor_says_what_is_missing_and_how_to_get_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    code, out, _ = invoke(capsys, "doctor", "--json")
    findings = {finding["subject"]: finding for finding in json.loads(out)}
    assert code == 0
    assert not findings["data cifar10"]["ok"]
    assert "--data" in findings["data cifar10"]["remedy"]
    assert findings["data foolbox-cifar10"]["ok"]
    assert findings["torchvision"]["ok"]


def test_doctor_says_that_scripts_cannot_import_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "MENDED", True)
    assert "a script of yours cannot" in _torchvision().detail
    monkeypatch.setattr(vision, "MENDED", False)
    assert _torchvision().detail == "can be imported"


def test_doctor_says_that_torchvision_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("bench.core.compute.vision", raising=False)
    monkeypatch.setitem(sys.modules, "bench.core.compute.vision", None)
    found = _torchvision()
    assert not found.ok
    assert "cannot be imported" in found.detail
    assert "belongs to this torch" in found.remedy


def test_doctor_says_that_the_data_folder_is_not_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "typo"))
    code, out, _ = invoke(capsys, "doctor", "--json")
    found = next(finding for finding in json.loads(out) if finding["subject"] == "data cifar10")
    assert code == 0
    assert found["detail"] == f"expected a folder of image sets at {tmp_path}/typo, got none"
    assert found["remedy"].startswith("correct --data or BENCH_DATA")


def test_an_interrupt_has_its_own_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bench.registry.names", interrupt)
    code, _, err = invoke(capsys, "list", "models")
    assert code == 130
    assert err.split() == ["error:", "interrupted"]


def test_a_broken_protocol_is_marked_among_the_others(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    own = registry.names("protocols")
    for name in own:
        (tmp_path / f"{name}.toml").symlink_to(registry.file_of("protocols", name))
    (tmp_path / "odd-v1.toml").write_text("name = 3")
    with plugins_in({"protocols": registry.Toml("bench", str(tmp_path), Protocol)}):
        code, out, _ = invoke(capsys, "list", "protocols", "--json")
    rows = {row["name"]: row["summary"] for row in json.loads(out)["protocols"]}
    assert code == 1
    assert rows.pop("odd-v1").startswith("BROKEN: odd-v1.toml: ")
    assert list(rows) == own
    assert not [text for text in rows.values() if text.startswith("BROKEN")]


def test_listing_and_help_import_no_torch() -> None:
    program = (
        "import sys\n"
        "from bench import cli\n"
        "for words in (['list'], ['--help'], ['show', 'cifar10-smoke-v1']):\n"
        "    try: cli.main(words)\n"
        "    except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (("validate", "{results}"), ("verify", "--repository", "{results}")),
        (("confirm", "{results}", "{results}"), ("verify", "{results}", "--against", "{results}")),
        (
            ("contest", "ifia-topk", "cosine", "--protocol", "cifar10-linf8-v1", "--results", "{results}"),
            ("compare", "--attacks", "ifia-topk", "cosine", "--protocol", "cifar10-linf8-v1", "--results", "{results}"),
        ),
    ],
)
def test_old_names_of_verbs_do_what_the_new_ones_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, old: tuple[str, ...], new: tuple[str, ...]
) -> None:
    for attack in ("ifia-topk", "cosine"):
        store_run(tmp_path, model_entry("art-wrn28"), attack)
    said = [invoke(capsys, *(word.format(results=tmp_path) for word in words), "--json") for words in (old, new)]
    assert said[0] == said[1]
    assert json.loads(said[0][1])
    assert cli.bench.commands[old[0]].hidden


@pytest.mark.parametrize("words", [["list", "flags"], ["show", "tied-map"], ["run", "--model", "hub:nosuch"]])
def test_a_terminal_without_utf_8_gets_question_marks_and_no_traceback(words: list[str]) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "bench.cli", *words], capture_output=True, env=environment, check=False
    )
    assert done.returncode == (2 if words[0] == "run" else 0), done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout or done.stderr
    assert (done.stdout + done.stderr).isascii()


@pytest.mark.parametrize("beta", ["inf", "1e300", "nan", "0"])
def test_a_sharpness_out_of_bounds_is_refused(beta: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = invoke(capsys, "run", "--model", "hub:natural-linear", "--beta", beta)
    assert (code, err.count("\n")) == (2, 1)
    assert "--beta: expected" in err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("epsilon = 8", "epsilon: expected at most 1, the whole range of a pixel, got 8; write 8/255 for grey levels"),
        ("beta = inf", "surrogate.beta: expected at most 1000000.0, got inf"),
    ],
)
def test_a_protocol_file_is_held_to_the_bounds_of_the_options(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = write_protocol(tmp_path, "mine", 4, 4).read_text()
    (tmp_path / "mine-v1.toml").write_text(
        re.sub(rf"^{line.split(maxsplit=1)[0]} = .*$", line, text, flags=re.MULTILINE)
    )
    words = ["run", "--model", "hub:natural-linear", "--protocol", str(tmp_path / "mine-v1.toml")]
    code, _, err = invoke(capsys, *words)
    assert code == 2
    assert said in err
