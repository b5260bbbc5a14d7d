"""The kinds of models: those in ``models.kinds``, and what installed packages add.

A package adds a kind by an entry point of the group ``openmm_neuralmd.kinds``, whose name is the kind's and whose
object is a ``Kind``.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from torch import nn

from openmm_neuralmd.errors import ModelContractError
from openmm_neuralmd.models import kinds
from openmm_neuralmd.models.kinds.kind import Kind
from openmm_neuralmd.plugins import Plugins, load_own


def list_kinds() -> tuple[str, ...]:
    """Names of all kinds: those of this package, then others in alphabetical order."""
    return (*_find_own(), *OTHER_KINDS.list_names())


def get_kind(name: str) -> Kind:
    """A kind by its name.

    Raises:
        ModelContractError: If there is none, two packages offer one of this name, or the package that does is broken.
    """
    own = _find_own()
    if name in own:
        return own[name]
    if name not in OTHER_KINDS.list_names():
        raise ModelContractError(f"unknown kind of model {name!r}; known are {', '.join(list_kinds())}")
    return OTHER_KINDS.get(name)


def describe_kinds() -> str:
    """Name and summary of each kind that can be used, for help."""
    usable = (*_find_own().values(), *OTHER_KINDS.load_all())
    return "; ".join(f"{kind.name}: {kind.summary}" for kind in usable)


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
    return {kind.name: kind for kind in load_own(kinds, "KIND")}


OTHER_KINDS = Plugins("openmm_neuralmd.kinds", "kind", Kind, _find_own, ModelContractError)
"""Kinds of other packages."""
