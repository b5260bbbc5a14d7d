"""The kinds of models: those in ``models.kinds``, and what installed packages add.

A package adds a kind by an entry point of the group ``openmm_neuralmd.kinds``, whose name is the kind's and whose
object is a ``Kind``. It is imported when that kind is first asked for, so that a broken package harms nobody else.
"""

import logging
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from torch import nn

from openmm_neuralmd.errors import ModelContractError, describe_error
from openmm_neuralmd.models import kinds
from openmm_neuralmd.models.kinds.kind import Kind

GROUP = "openmm_neuralmd.kinds"
_log = logging.getLogger(__name__)


def list_kinds() -> tuple[str, ...]:
    """Names of all kinds: those of this package, then others in alphabetical order."""
    return (*_find_own(), *sorted(_find_others()))


def get_kind(name: str) -> Kind:
    """A kind by its name.

    Raises:
        ModelContractError: If there is none, two packages offer one of this name, or the package that does is broken.
    """
    own, others = _find_own(), _find_others()
    if name in own:
        return own[name]
    if name not in others:
        raise ModelContractError(f"unknown kind of model {name!r}; known are {', '.join(list_kinds())}")
    return _load(name, others[name])


def build_network(kind: str, config: Mapping[str, Any]) -> nn.Module:
    """A fresh network of a kind.

    Args:
        kind: Its name.
        config: Arguments of its network, see ``Kind.config_form``.

    Raises:
        ModelContractError: As in ``get_kind``.
    """
    return get_kind(kind).build_network(config)


@cache
def _find_own() -> dict[str, Kind]:
    """What the modules of ``models.kinds`` name ``KIND``, by its name."""
    modules = [import_module(f"{kinds.__name__}.{found.name}") for found in pkgutil.iter_modules(kinds.__path__)]
    found = [module.KIND for module in modules if hasattr(module, "KIND")]
    return {kind.name: kind for kind in found}


@cache
def _find_others() -> dict[str, tuple[EntryPoint, ...]]:
    """Entry points of other packages by name; one with the name of a kind of this package is left out, and told."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=GROUP):
        if point.name in _find_own():
            _log.warning(
                "package %s: its kind %r has the name of one of openmm_neuralmd and is left out; rename it",
                _name_package(point),
                point.name,
            )
        else:
            found[point.name] = (*found.get(point.name, ()), point)
    return found


@cache
def _load(name: str, points: tuple[EntryPoint, ...]) -> Kind:
    if len(points) > 1:
        packages = " and ".join(sorted(map(_name_package, points)))
        raise ModelContractError(f"kind {name!r} is offered by packages {packages}: uninstall all but one")
    package = _name_package(points[0])
    try:
        kind = points[0].load()
    except Exception as error:  # somebody else's module may do anything
        raise ModelContractError(
            f"kind {name!r} of package {package} cannot be imported ({describe_error(error)}): update or uninstall it"
        ) from error
    if not isinstance(kind, Kind):
        raise ModelContractError(
            f"kind {name!r} of package {package} is {type(kind).__name__}, not a Kind: its entry point must name an "
            "object of a subclass of openmm_neuralmd.models.kinds.kind.Kind"
        )
    if kind.name != name:
        raise ModelContractError(
            f"kind {name!r} of package {package} calls itself {kind.name!r}: its entry point must have the same name"
        )
    return kind


def _name_package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
