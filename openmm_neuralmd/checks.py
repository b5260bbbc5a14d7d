"""What callers hand in, checked where it enters: one checker for each sort of argument, one sentence for each refusal.

A checker takes the argument's name and its value, gives back what the program works with, and raises ``InputError``
where the value cannot be used. ``check_arguments`` puts checkers before a public function.
"""

import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from openmm_neuralmd.errors import InputError

Check = Callable[[str, Any], Any]
P = ParamSpec("P")
R = TypeVar("R")

LARGEST_SEED = 2**64 - 1  # half of the key of a counter-based generator, see dynamics.noise
MOST_SNAPSHOTS = 2**31 - 1  # a DCD file counts frames with 32 bits
MOST_STEPS_PER_SNAPSHOT = 100_000  # at 80 ps a snapshot they are shorter than a femtosecond, which MD itself takes
MOST_THREADS = max(128, 4 * (os.cpu_count() or 1))
"""More than any number that helps, and far less than any threading library refuses."""
_LONGEST_NAME = 255  # bytes of a file's or folder's name, of every file system in use
_SHOWN = 60  # characters of a value in a message


def check_arguments(**checks: Check) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Check the named arguments of a function before it begins; what a checker gives back is what it gets.

    Arguments that a caller leaves out keep their defaults unchecked.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        if unknown := checks.keys() - signature.parameters.keys():
            raise TypeError(f"{function.__qualname__} has no argument {', '.join(sorted(unknown))}")

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind(*args, **kwargs)
            for name, check in checks.items():
                if name in bound.arguments:
                    bound.arguments[name] = check(name, bound.arguments[name])
            return function(*bound.args, **bound.kwargs)

        return call

    return decorate


def optional(check: Check) -> Check:
    """The checker that takes None too."""
    return lambda name, value: None if value is None else check(name, value)


def describe(value: Any) -> str:
    """A value in few words, for messages: what it is, and its type where that is not plain."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} of shape {value.shape}"
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a repr of somebody else's
        return f"a {type(value).__name__}"
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    if value is None or isinstance(value, bool | int | float | complex | list | tuple | dict):
        return text
    if isinstance(value, str | bytes):
        return f"the text {text}"
    return f"{text} (a {type(value).__name__})"


def is_count(value: Any) -> bool:
    """Whether a value is an integer of Python or NumPy, and no bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number of Python or NumPy, and no bool."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool | np.bool_) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def check_count(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """A whole number from ``least`` to ``most``; bools and floats are none."""
    if not is_count(value):
        raise InputError(f"{name} is {describe(value)}; give an integer, {least} or more")
    if value < least:
        raise InputError(f"{name} is {describe(int(value))}; give {least} or more")
    if most is not None and value > most:
        raise InputError(f"{name} is {describe(int(value))}; give at most {most}")
    return int(value)


def check_number(
    name: str, value: Any, *, above: float | None = None, least: float = -math.inf, most: float = math.inf
) -> float:
    """A finite number above ``above``, or from ``least``, to ``most``."""
    lowest = f"above {above:g}" if above is not None else f"of {least:g} or more" if least > -math.inf else "finite"
    wanted = f"a number {lowest}" + (f", at most {most:g}" if most < math.inf else "")
    if not is_number(value) or not least <= value <= most or (above is not None and not value > above):
        raise InputError(f"{name} is {describe(value)}; give {wanted}")
    return float(value)


def check_flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} is {describe(value)}; give True or False")
    return bool(value)


def check_text(name: str, value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise InputError(f"{name} is {describe(value)}; give a text")
    return value


def check_path(name: str, value: Any) -> Path:
    """The name of a file or folder."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise InputError(f"{name} is {describe(value)}; give the name of a file or folder, a text or a Path")
    path = os.fspath(value)
    if not path or "\0" in path:
        raise InputError(f"{name} is {describe(path)}; give the name of a file or folder")
    try:
        longest = max(len(part) for part in os.fsencode(path).split(os.fsencode(os.sep)))
    except UnicodeEncodeError:
        raise InputError(f"{name} is {describe(path)}; give a name that file systems can hold") from None
    if longest > _LONGEST_NAME:
        raise InputError(f"{name} is {describe(path)}; a name may have {_LONGEST_NAME} bytes, this one has {longest}")
    return Path(path)


def check_callable(name: str, value: Any) -> Callable[..., Any]:
    """A function."""
    if not callable(value):
        raise InputError(f"{name} is {describe(value)}; give a function")
    return value


def check_threads(threads: Any, name: str = "threads") -> int | None:
    """A number of threads that this machine can bear, or None.

    Threading libraries end the process where they are asked for too many.
    """
    cores = os.cpu_count() or 1
    if threads is None:
        return None
    number = check_count(name, threads)
    if number > MOST_THREADS:
        raise InputError(f"{name} is {describe(number)}; this machine has {cores} cores: give at most {MOST_THREADS}")
    return number


def a_count(least: int = 1, most: int | None = None) -> Check:
    """``check_count`` with these bounds."""
    return lambda name, value: check_count(name, value, least=least, most=most)


def a_number(above: float | None = None, least: float = -math.inf, most: float = math.inf) -> Check:
    """``check_number`` with these bounds."""
    return lambda name, value: check_number(name, value, above=above, least=least, most=most)


def an_instance(*types: type, of: str, has: Sequence[str] = ()) -> Check:
    """Checker of an object.

    Args:
        types: What it may be.
        of: In words, with how to get one.
        has: An object of another type is taken too if it has all of these attributes; none is if empty.
    """

    def check(name: str, value: Any) -> Any:
        if isinstance(value, types) or (has and not isinstance(value, type) and all(hasattr(value, h) for h in has)):
            return value
        raise InputError(f"{name} is {describe(value)}; give {of}")

    return check


def a_choice(choices: Iterable[str], also: str = "") -> Check:
    """Checker of one of some names; ``also`` ends the message."""
    names = tuple(choices)

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise InputError(f"{name} is {describe(value)}; choose one of {', '.join(names)}{also}")
        return value

    return check


def a_sequence(check: Check, *, of: str, least: int = 0) -> Check:
    """Checker of a list, tuple, range or array of things that another checker checks one by one; a text is none."""

    def check_all(name: str, values: Any) -> list[Any]:
        is_listed = isinstance(values, Sequence) and not isinstance(values, str | bytes)
        if not is_listed and not (isinstance(values, np.ndarray) and values.ndim == 1):
            raise InputError(f"{name} is {describe(values)}; give a list of {of}")
        if len(values) < least:
            raise InputError(f"{name} holds {len(values)}; give at least {least} of {of}")
        return [check(f"{name}[{k}]", value) for k, value in enumerate(values)]

    return check_all


def a_mapping(*, of: str) -> Check:
    """Checker of a dictionary with texts as its keys."""

    def check(name: str, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise InputError(f"{name} is {describe(value)}; give a dictionary of {of}")
        return value

    return check


def check_reals(name: str, values: Any, *, unit: str) -> np.ndarray:
    """Coordinates as a new float64 array of any shape; NaN passes.

    Half precision is refused: its three digits are too few for coordinates. So are texts, bools, complex numbers and
    objects, which NumPy would turn into numbers, or not, without a word.

    Args:
        name: Of the argument.
        values: An array, a tensor or nested lists.
        unit: For the message.

    Raises:
        InputError: If they are no such numbers.
    """
    try:
        array = np.asarray(values)
    except Exception as error:  # lists of unequal lengths, tensors with gradients, somebody else's objects
        raise InputError(f"{name} cannot be read as numbers [{unit}]: {' '.join(str(error).split())}") from error
    if values is None or array.dtype.kind not in "iuf" or array.dtype == np.float16:
        found = f"of {array.dtype}" if isinstance(values, np.ndarray) or array.ndim else describe(values)
        raise InputError(f"{name} are {found}; give real numbers [{unit}] of float64 or float32")
    return array.astype(np.float64)


def check_finite(name: str, array: np.ndarray) -> np.ndarray:
    """The array itself; InputError if it holds NaN or infinity."""
    if not np.isfinite(array).all():
        raise InputError(f"{name} hold NaN or infinity: give finite numbers")
    return array


def refuse_ignored(given: Mapping[str, Any], where: str) -> None:
    """Refuse arguments that would be ignored.

    Args:
        given: What has no effect in this call, by name; None, False and empty ones were not given.
        where: Why, such as "without `references`".

    Raises:
        InputError: If one of them was given.
    """
    names = [f"`{name}`" for name, value in given.items() if value is not None and value is not False and value != []]
    if names:
        raise InputError(f"{', '.join(names)}: no effect {where}; leave {'it' if len(names) == 1 else 'them'} out")


def refuse_twice(name: str, values: Sequence[Any], counts_as: str = "") -> None:
    """Refuse a value that is given more than once.

    Args:
        name: Of the argument, for the message.
        values: All that were given.
        counts_as: Why that matters.

    Raises:
        InputError: If one is there again.
    """
    again = [value for k, value in enumerate(values) if value in values[:k]]
    if again:
        raise InputError(f"{name} {again[0]} is given twice{counts_as and ', ' + counts_as}; give it once")
