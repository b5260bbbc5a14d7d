"""What is found by name: in a folder of this package, and in installed packages that offer it by entry points.

The latter is found without an import, and imported when first asked for. So a broken package harms nobody who does not
use it, and one who does reads its name.
"""

import logging
import pkgutil
from collections.abc import Callable, Collection
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Generic, TypeVar

from openmm_neuralmd.errors import InputError, describe_error

_log = logging.getLogger(__name__)
T = TypeVar("T")


def load_own(package: ModuleType, name: str) -> list[Any]:
    """What the modules of one of this package's folders call by a name, those that have it."""
    modules = [import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]
    return [getattr(module, name) for module in modules if hasattr(module, name)]


class Plugins(Generic[T]):
    """Objects of one type that other packages offer.

    Args:
        group: Of the entry points; the name of each is that of its object.
        what: Such an object, in words, as in "kind".
        accepts: What each must be.
        get_taken: Names of this package's own, which no other package may have.
        error: Raised where an object is asked for that cannot be had.
        named_by: The attribute that holds an object's name.
    """

    def __init__(
        self,
        group: str,
        what: str,
        accepts: type[T],
        get_taken: Callable[[], Collection[str]],
        error: type[Exception] = InputError,
        *,
        named_by: str = "name",
    ) -> None:
        self.group, self._what, self._accepts, self._get_taken, self._error = group, what, accepts, get_taken, error
        self._named_by = named_by
        self._loaded: dict[str, T] = {}

    @cached_property
    def _points(self) -> dict[str, list[EntryPoint]]:
        """By name; a name that is taken is left out, and told."""
        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            if point.name in self._get_taken():
                package = _name_package(point)
                _log.warning(
                    "package %s: its %s %r has the name of one of openmm_neuralmd and is left out; rename it",
                    *(package, self._what, point.name),
                )
            else:
                found.setdefault(point.name, []).append(point)
        return found

    def list_names(self) -> tuple[str, ...]:
        """In alphabetical order."""
        return tuple(sorted(self._points))

    def get(self, name: str) -> T:
        """One of ``list_names``.

        Raises:
            Exception: ``error``, in one line that names the package, if two packages offer it, or it cannot be used.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def load_all(self) -> tuple[T, ...]:
        """All that can be used; of the others a warning tells why not."""
        loaded = []
        for name in self.list_names():
            try:
                loaded.append(self.get(name))
            except self._error as error:
                _log.warning("%s; it is left out", error)
        return tuple(loaded)

    def _load(self, name: str) -> T:
        points = self._points[name]
        if len(points) > 1:
            packages = " and ".join(sorted(map(_name_package, points)))
            raise self._error(f"{self._what} {name!r} is offered by packages {packages}: uninstall all but one")
        which = f"{self._what} {name!r} of package {_name_package(points[0])}"
        try:
            loaded: Any = points[0].load()
        except Exception as error:  # somebody else's module may do anything
            raise self._error(
                f"{which} cannot be imported ({describe_error(error)}): update or uninstall it"
            ) from error
        if not isinstance(loaded, self._accepts):
            expected = f"{self._accepts.__module__}.{self._accepts.__qualname__}"
            raise self._error(f"{which} is {type(loaded).__name__}: its entry point must name an object of {expected}")
        own_name = getattr(loaded, self._named_by, None)  # a kind may have forgotten it
        if own_name != name:
            raise self._error(f"{which} calls itself {own_name!r}: its entry point must have the same name")
        return loaded


def _name_package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
