"""LaTeX tables of boards, and the BibTeX of their models."""

from __future__ import annotations

from collections.abc import Iterable

from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.records import Summary
from leaderboard.boards.board import Board, Standing

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def table(board: Board) -> str:
    """Return a board as a LaTeX `tabular`, which needs the package booktabs."""
    attacks = board.attacks
    heads = ["rank", "model", "training", "clean", "worst found", *attacks]
    lines = [" & ".join(map(escaped, heads)) + r" \\", r"\midrule"]
    lines += [" & ".join(_cells(board, standing)) + r" \\" for standing in board.standings]
    whose = "each model"
    if board.sample_set == "common" and board.reference is not None:
        whose = f"the reference set ({', '.join(board.reference.models)})"
    note = (
        f"% {board.protocol.key}: mean {board.spec.primary_metric} over the images that {whose} classifies "
        "correctly, with 95 % bootstrap intervals\n"
    )
    columns = "rll" + "r" * (2 + len(attacks))
    body = [f"\\begin{{tabular}}{{{columns}}}", r"\toprule", *lines, r"\bottomrule", r"\end{tabular}"]
    return note + "\n".join(body) + "\n"


def bibliography(boards: list[Board]) -> str:
    """Return the citations of all models on the boards as BibTeX."""
    return citations(standing.entry for board in boards for standing in board.by_name.values())


def citations(entries: Iterable[ModelEntry]) -> str:
    """Return the citations of models, without repetition, sorted by model name."""
    by_name = {entry.name: entry.citation.strip() for entry in entries}
    return "\n\n".join(dict.fromkeys(text for _, text in sorted(by_name.items()) if text)) + "\n"


def escaped(text: str) -> str:
    """Return text on one line, with LaTeX's special characters escaped."""
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))


def _cells(board: Board, standing: Standing) -> list[str]:
    low, high = standing.rank_interval or (standing.rank, standing.rank)
    rank = "--" if low is None else str(low) if low == high else f"{low}--{high}"
    accuracy = standing.entry.accuracy
    means = [_mean(standing.summary(attack, board.spec.primary_metric)) for attack in board.attacks]
    return [
        rank,
        escaped(standing.entry.name),
        escaped(standing.entry.training.method),
        "--" if accuracy is None else f"{100 * accuracy.clean:.1f}",
        _interval(standing.score),
        *means,
    ]


def _mean(summary: Summary | None) -> str:
    return "--" if summary is None or summary.mean is None else f"${summary.mean:.3f}$"


def _interval(summary: Summary | None) -> str:
    if summary is None or summary.mean is None:
        return "--"
    return f"${summary.mean:.3f}$ [${summary.low:.3f}$, ${summary.high:.3f}$]"
