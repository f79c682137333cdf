"""Watches a run, as a terminal does."""

from __future__ import annotations


class Watcher:
    """Remember messages, and stop the run after some images."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.total, self.done, self.stop_after = 0, 0, stop_after
        self.said: list[str] = []

    def start(self, title: str, total: int, done: int) -> None:
        self.total, self.done = total, done

    def say(self, text: str) -> None:
        self.said.append(text)

    def advance(self, images: int) -> None:
        self.done += images
        if self.stop_after is not None and self.done >= self.stop_after:
            raise KeyboardInterrupt
