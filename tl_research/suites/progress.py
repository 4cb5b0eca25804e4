"""How far a suite is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_SECONDS = 60.0


class Progress:
    """Shows done, failures and the time left on stderr."""

    def __init__(self, name: str, *, total: int, done: int):
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._name, self._total, self._done, self._failed = name, total, done, 0
        self._at_start, self._begun, self._last_line = done, time.monotonic(), time.monotonic()
        self._bar: Bar | None = None
        if self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Bar(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self._console)
            # Runs of an earlier start say nothing about the time left.
            self._task = self._bar.add_task(name, total=total - done, note="")

    def __enter__(self) -> Progress:
        if self._at_start:
            self._print(f"{self._name}: {self._at_start} of {self._total} runs are finished already")
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, cell, status: str, message: str) -> None:
        """One run has ended."""
        self._done += 1
        if status not in ("ok", "elsewhere", "interrupted"):
            self._failed += 1
            self.note(cell, status, message)
        if self._bar is not None:
            self._bar.update(self._task, advance=1, note=f"{self._failed} failed" if self._failed else "")
        elif time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            rate = (self._last_line - self._begun) / (self._done - self._at_start)
            left = f"about {rate * (self._total - self._done) / 60:.0f} min left"
            self._print(f"{self._name}: {self._done} of {self._total} runs, {self._failed} failed, {left}")

    def note(self, cell, word: str, message: str) -> None:
        """Say something of a run that has not ended."""
        self._print(f"{word}: {cell.label}, {cell.task}, seed {cell.seed} ({cell.run_id}): {message}")

    def finish(self, summary) -> None:
        """Say how it ended."""
        failed = ", ".join(f"{count} {status}" for status, count in sorted(summary.failed.items()))
        parts = [f"{summary.ok} runs done", f"{summary.skipped} finished before"]
        parts += [failed] if failed else []
        parts += [f"{summary.broken} with a record that cannot be read"] if summary.broken else []
        parts += [f"{summary.elsewhere} running in another process"] if summary.elsewhere else []
        parts += [f"{summary.left} left for the next start"] if summary.left else []
        parts += ["interrupted; the same command goes on"] if summary.interrupted else []
        self._print(f"{self._name}: {', '.join(parts)}")

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False)
