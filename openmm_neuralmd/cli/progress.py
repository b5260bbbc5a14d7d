"""The progress bar, the same for every command; the library knows only the calls that it makes of ``show``."""

import sys
from collections.abc import Sequence

from tqdm import tqdm

_PS_LAYOUT = "{desc:18s}{percentage:3.0f}%|{bar}| {n:.1f}/{total:g} ps [{elapsed}<{remaining}]"


class ProgressBar:
    """Appears with the first report, below notes, so errors before it stand alone; its rate counts this session.

    Args:
        unit: What is counted; "ps" for times.
        is_quiet: Show nothing.
        is_passing: On terminals only, and gone when all is done.
        notes: To be printed above the bar, also where it is not shown.
    """

    def __init__(self, unit: str, *, is_quiet: bool, is_passing: bool = False, notes: Sequence[str] = ()) -> None:
        self._unit, self._is_passing, self._notes = unit, is_passing, notes
        self._is_quiet = is_quiet or (is_passing and not sys.stderr.isatty())
        self._bar: tqdm | None = None
        self._title = ""

    def show(self, done: float, total: float, *, title: str = "", text: str = "") -> None:
        """Report what is done, of how much; where that begins again, so does the bar."""
        if self._bar is None or done < self._bar.n:
            self._begin(round(done, 3), round(total, 3))
        assert self._bar is not None
        if title != self._title:
            self._bar.set_description_str(title)
            self._title = title
        if text:
            self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(round(done, 3) - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()

    def _begin(self, done: float, total: float) -> None:
        if self._bar is None:
            for note in self._notes:
                print(f"note: {note}", file=sys.stderr)
        self.close()
        layout = {"bar_format": _PS_LAYOUT} if self._unit == "ps" else {"unit": self._unit}
        self._bar = tqdm(
            total=total, initial=done, disable=self._is_quiet, file=sys.stderr, leave=not self._is_passing, **layout
        )
        self._title = ""
