"""Values on the command line, checked when they are read: numbers, seeds and names.

The functions of the package check their own arguments and name those; here each message names the option as typed.
"""

import argparse
import math
import re
from functools import partial
from typing import Any

from openmm_neuralmd.checks import LARGEST_SEED, MOST_THREADS
from openmm_neuralmd.errors import InputError

LARGEST_COUNT = 2**31 - 1
"""What file headers and libraries written in C count with."""
LONGEST_PS = 1e9
"""A millisecond; no trajectory is as long."""
_TINY = 1e-6
"""Of what must be above 0: less is nothing in every unit here, and its inverse too large to count with."""
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)


def read_whole(text: str) -> int:
    """A whole number in decimal digits; Python's own reader takes 1_000 and digits of other scripts too."""
    if not _WHOLE.fullmatch(text.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text) if len(text) < 1000 else LARGEST_SEED + 1


def read_number(text: str) -> float:
    """A number in decimal digits, perhaps with an exponent; infinity and NaN are left to the range of an option."""
    if not _NUMBER.fullmatch(text.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return float(text)


class _Ranged(argparse.Action):
    """Stores a number if it lies in the option's range.

    Args:
        least, most: Ends of the range, themselves allowed; ``above`` is not.
        advice: What to give, for the message; the range if empty.
    """

    def __init__(
        self,
        *args: Any,
        least: float = -math.inf,
        above: float = -math.inf,
        most: float = math.inf,
        advice: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.least, self.above, self.most, self.advice = least, above, most, advice

    def __call__(
        self, _parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        is_inside = max(self.least, self.above + _TINY) <= values <= self.most and math.isfinite(values)
        if not is_inside:
            shown = f"{values:g}" if isinstance(values, float) else values
            raise InputError(f"{option_string} {shown}: give {self.advice or self._describe()}")
        setattr(namespace, self.dest, values)

    def _describe(self) -> str:
        if self.type is read_whole and self.least == 0 and self.most != LARGEST_COUNT:
            return f"an integer from 0 to {'2^64 - 1' if self.most == LARGEST_SEED else self.most}"
        end = f"{self.most:g}" if isinstance(self.most, float) else str(self.most)
        if math.isfinite(self.above):
            return f"a number above {self.above:g}" + (f", at most {end}" if math.isfinite(self.most) else "")
        return f"{self.least:g} or more" + (f", at most {end}" if math.isfinite(self.most) else "")


def whole(*, least: int = 1, most: int = LARGEST_COUNT, advice: str = "") -> dict[str, Any]:
    """For ``add_argument``: a whole number from ``least`` to ``most``; ``advice`` says so in other words."""
    return {"type": read_whole, "action": partial(_Ranged, least=least, most=most, advice=advice)}


def threads() -> dict[str, Any]:
    """For ``add_argument``: a number of CPU threads that this machine can start."""
    return whole(most=MOST_THREADS)


def real(
    *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf, advice: str = ""
) -> dict[str, Any]:
    """For ``add_argument``: a finite number of this range; ``advice`` says it in other words."""
    return {"type": read_number, "action": partial(_Ranged, least=least, above=above, most=most, advice=advice)}


def interval() -> dict[str, Any]:
    """For ``add_argument``: a time between frames or snapshots [ps]."""
    return real(above=0.0, most=LONGEST_PS)


def seed(*, most: int = LARGEST_SEED) -> dict[str, Any]:
    """For ``add_argument``: a seed."""
    return whole(least=0, most=most)


def read_seeds(option: str, text: str) -> list[int]:
    """Seeds with commas between, no two alike.

    Raises:
        InputError: If one is no seed, or given twice.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(_WHOLE.fullmatch(word) for word in words):
        raise InputError(f"{option} {text!r}: give whole numbers with commas between, such as 0,42,123")
    seeds = [read_whole(word) for word in words]
    if not all(0 <= each <= LARGEST_SEED for each in seeds):
        raise InputError(f"{option} {text!r}: give whole numbers from 0 to 2^64 - 1 with commas between")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{option} {text!r}: a seed is given twice, and would count as two; give each once")
    return seeds


def read_names(option: str, text: str) -> list[str]:
    """Names with commas between.

    Raises:
        InputError: If one is empty.
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"{option} {text!r}: a name is empty; give names with commas between, such as A,B")
    return names
