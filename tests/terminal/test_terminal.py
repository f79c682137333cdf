"""The output for people, with one line per thing.

Lines are not cut when another program reads them.
"""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from bench import cli, registry
from bench.checks.check import Check
from bench.commands.submit import show_check_table
from bench.terminal import console

COLUMNS = 80


def listed(kind: str) -> list[str]:
    done = CliRunner().invoke(cli.bench, ["list", kind])
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


@pytest.mark.parametrize("kind", registry.KINDS)
def test_a_list_in_a_pipe_has_a_whole_line_for_each_plugin(kind: registry.Kind) -> None:
    head, *lines = listed(kind)
    assert head.split()[0] == "name"
    assert [line.split()[0] for line in lines] == registry.names(kind)
    for name, line in zip(registry.names(kind), lines, strict=True):
        assert line.endswith(registry.summary(kind, name))


def test_a_plugin_in_a_pipe_is_told_with_its_parameters_and_without_trailing_blanks() -> None:
    for words in (["ifia-topk"], ["deletion"], ["cifar10-smoke-v1"]):
        done = CliRunner().invoke(cli.bench, ["show", *words])
        assert done.exit_code == 0
        assert [line for line in done.output.split("\n") if line != line.rstrip()] == []
        if words == ["deletion"]:
            assert "fill: Literal['image-mean', 'black'] = 'image-mean'\n" in done.output
            assert "What fills the places where no pixel is shown: the mean of the image's channel" in done.output


@pytest.mark.parametrize("kind", registry.KINDS)
def test_a_list_at_a_terminal_has_a_line_for_each_plugin_that_fits(
    kind: registry.Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    page = type(console.out)(file=screen, width=COLUMNS, force_terminal=True, color_system=None, highlight=False)
    whole = listed(kind)
    monkeypatch.setattr(console, "out", page)
    listed(kind)
    shown = screen.getvalue().splitlines()
    assert [cell_len(line) for line in shown] == [min(cell_len(line), COLUMNS) for line in whole]
    for line, full in zip(shown, whole, strict=True):
        assert line == full if cell_len(full) <= COLUMNS else line == full[: COLUMNS - 1] + "…"


def test_all_kinds_are_told_apart() -> None:
    lines = CliRunner().invoke(cli.bench, ["list"]).output.splitlines()
    assert [line for line in lines if line in registry.KINDS] == list(registry.KINDS)
    assert len(lines) == sum(2 + len(registry.names(kind)) for kind in registry.KINDS)


def test_a_table_in_a_pipe_breaks_no_cell(capsys: pytest.CaptureFixture[str]) -> None:
    detail = "word " * 100 + "end"
    show_check_table([Check("a model", "a question", ok=True, detail=detail)])
    assert detail in capsys.readouterr().out
