"""What a run is doing and how long it will take: a live bar on a terminal, lines elsewhere."""

import time

from rich import progress as rich_progress
from rich.console import Console


class Progress:
    """Progress through a known amount of work, shown on standard error.

    Args:
        total: the work, in passes.
        enabled: False shows nothing.
    """

    def __init__(self, total: int, *, enabled: bool) -> None:
        self._console = Console(stderr=True)
        self._lines = enabled and not self._console.is_terminal and not self._console.is_jupyter
        self._total = total
        self._done = 0
        self._started = self._said = time.monotonic()
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn("{task.description:<36.36}", markup=False),
            rich_progress.BarColumn(bar_width=None),
            rich_progress.TaskProgressColumn(),
            rich_progress.TextColumn("left"),
            rich_progress.TimeRemainingColumn(compact=True),
            console=self._console,
            disable=not enabled or self._lines,
            transient=True,
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, label: str, *, skip: int = 0) -> None:
        """The next piece of work; `skip` passes of it turned out to be done already."""
        self._label = label
        self._bar.update(self._task, description=label)
        self.advance(skip)

    def advance(self, passes: int, label: str = "") -> None:
        """More work is done; `label`, if not empty, says anew what is going on."""
        if label:
            self._label = label
            self._bar.update(self._task, description=label)
        self._done += passes
        self._bar.update(self._task, completed=self._done)
        now = time.monotonic()
        if self._lines and passes and (now - self._said > 10 or self._done >= self._total):
            self._said = now
            left = (now - self._started) * (self._total - self._done) / max(self._done, 1)
            self._console.print(
                f"{self._done / self._total:4.0%}  {self._label}  (about {left:.0f} s left)",
                highlight=False,
                markup=False,  # names are the user's
                emoji=False,
            )
