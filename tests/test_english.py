"""Plain English: what a machine can check of it."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("bench", "model_zoo", "attacks", "metrics", "leaderboard")
ALL = (*OURS, "tests")
WORDS = 12
"""Words in the first line of a docstring."""
RIDDLES = re.compile(
    r"\b(whoever|nobody says|so many|anew|what is no|those that|theirs|thereof|herein|whereof|hangs on)\b",
    re.IGNORECASE,
)
"""Words that make sentences hard to read; docs/glossary.md and the style of the project have better ones."""


def documented(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and docstring of a module, its classes and its functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            text := ast.get_docstring(node)
        ):
            yield getattr(node, "lineno", 1), text


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of every string, docstrings included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def explanations(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and text of comments and of strings that stand alone.

    Other strings of tests are content: code, or names of files.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value
    with tokenize.open(path) as source:
        comments = (token for token in tokenize.generate_tokens(source.readline) if token.type == tokenize.COMMENT)
        yield from ((token.start[0], token.string) for token in comments)


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", ALL)
def test_a_docstring_begins_with_one_short_clause(folder: str) -> None:
    long = [
        f"{path.relative_to(ROOT)}:{line}: {first}"
        for path in files(folder)
        for line, text in documented(path)
        if len((first := text.split("\n")[0]).split()) > WORDS or ";" in first
    ]
    assert not long, (
        f"{len(long)} first lines over {WORDS} words or of two clauses; move the rest below:\n" + "\n".join(long)
    )


@pytest.mark.parametrize("folder", OURS)
def test_no_text_is_a_riddle(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]}"
        for path in files(folder)
        for line, text in strings(path)
        if (match := RIDDLES.search(text))
    ]
    assert not found, "\n".join(found)


def test_no_explanation_of_a_test_is_a_riddle() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {match[0]}"
        for path in files("tests")
        for line, text in explanations(path)
        if (match := RIDDLES.search(text))
    ]
    assert not found, "\n".join(found)


def test_pages_and_documents_hold_no_riddle() -> None:
    texts = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *(ROOT / "leaderboard").rglob("*.html")]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in texts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if (match := RIDDLES.search(line))
    ]
    assert texts
    assert not found, "\n".join(found)


def test_the_check_finds_what_it_looks_for() -> None:
    assert RIDDLES.search("Whoever opens it")
    assert not RIDDLES.search("a person who opens it")


def test_comments_and_strings_that_stand_alone_explain(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    path.write_text('"""One."""\nx = "two"  # three\n"""Four."""\n')
    assert [text for _, text in explanations(path)] == ["One.", "Four.", "# three"]
