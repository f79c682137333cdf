"""What is said about the time that is left."""

from __future__ import annotations

import pytest
from rich.progress import Progress

from bench.core.errors import Interrupted
from bench.terminal import console
from bench.terminal.progress import RunProgress, TrainingProgress, seconds_left


def test_the_time_left_follows_the_pace_of_this_process_bursts_and_pauses_included() -> None:
    now = [0.0]
    bar = Progress(get_time=lambda: now[0], disable=True)
    bar.add_task("4 runs", total=100, completed=20, begun=20)
    (task,) = bar.tasks
    now[0] = 5.0
    assert seconds_left(task) is None, "what earlier processes did says nothing of the pace"
    bar.advance(task.id, 10)
    now[0] = 10.0
    assert seconds_left(task) == pytest.approx(10 / 10 * 70)
    now[0] = 40.0
    assert seconds_left(task) == pytest.approx(40 / 10 * 70), "a silent half minute counts"
    bar.advance(task.id, 70)
    assert seconds_left(task) == 0


def test_a_line_now_and_then_says_it_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert not console.err.is_terminal
    with RunProgress() as progress:
        progress.start("art under auto", total=20, done=10)
        progress.advance(5)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "art under auto: 10 of 20 images done"
    assert said[1].startswith("art under auto: 15 of 20 images, about ")


def test_the_last_line_and_a_repeated_remark_say_nothing_needless(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress() as progress:
        for _ in range(2):
            progress.say("no surrogate")
        progress.start("art under auto", total=3, done=0)
        progress.advance(3)
    assert capsys.readouterr().err.splitlines() == [
        "no surrogate",
        "art under auto: 0 of 3 images done",
        "art under auto: 3 of 3 images",
    ]


def test_a_training_without_a_terminal_says_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("bench.terminal.progress.time.monotonic", lambda: now[0])
    with TrainingProgress("tiny", str) as progress:
        for step in range(1, 101):
            now[0] += 1
            progress(f"loss {step}", step, 100)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "tiny: 1 of 100: loss 1"
    assert said[1].startswith("tiny: 17 of 100: loss 17, about 0:0")
    assert said[-1] == "tiny: 100 of 100: loss 100"
    assert len(said) == 8


@pytest.mark.parametrize(
    ("bar", "kept"),
    [
        (RunProgress(), "finished shards are kept: the same command continues"),
        (TrainingProgress("tiny", lambda: "nothing is kept"), "nothing is kept"),
    ],
)
def test_an_interrupt_says_what_is_kept(bar: RunProgress | TrainingProgress, kept: str) -> None:
    with pytest.raises(Interrupted, match=f"^interrupted; {kept}$") as caught, bar:
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
