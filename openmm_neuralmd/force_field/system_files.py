"""Systems that somebody serialized.

OpenMM makes whatever object a file names: a PythonForce is unpickled, a TorchForce loads a program, a plugin's force
may do anything. So a file is parsed here, types that are not OpenMM's own are refused, and OpenMM gets what was parsed,
written anew: nothing that was not seen reaches it.
"""

import re
from pathlib import Path

import openmm as mm

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import read_text
from openmm_neuralmd.force_field.xml_files import format_start, parse_xml

ALLOWED_TYPES = frozenset(
    name
    for name, kind in vars(mm).items()
    if isinstance(kind, type) and issubclass(kind, mm.Force | mm.TabulatedFunction) and not name.startswith("Python")
)
"""Of objects in a System: the forces and tables of OpenMM itself; expressions in them are formulas, not programs."""
_NOT_FINITE = re.compile(r'<(?P<element>\w+)(?: \w+="[^"]*")*? (?!name=)(?P<name>\w+)="(?P<value>NaN|-?Infinity)"')


def read_system(path: str | Path) -> mm.System:
    """A System from XML, perhaps gzipped.

    Raises:
        InputError: If the file is missing or holds something else, a force that may run or load code (PythonForce,
            TorchForce and all that are not OpenMM's own), or numbers with which nothing can be simulated.
    """
    text = _copy_checked(read_text(path), str(path))
    try:
        system = mm.XmlSerializer.deserialize(text)
    except Exception as error:
        raise InputError(f"{path}: not a serialized System: {_get_line(error)}") from error
    if not isinstance(system, mm.System):
        raise InputError(f"{path}: holds a {type(system).__name__}, not a System (`system`)")
    _check_numbers(system, path)
    return system


class _Copy:
    """Writes what it is given, and looks at the type of each object first."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.parts: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        kind = attributes.get("type", "")
        if not self.parts:
            if tag != "System" or kind != "System":
                found = tag if kind in ("", "System") else kind
                raise InputError(f"{self._source}: holds a {found}, not a System (`system`)")
        elif kind and kind not in ALLOWED_TYPES and not kind.isdecimal():  # particles and terms have numbers as types
            raise InputError(
                f"{self._source}: holds a {kind}, which may run code or is not OpenMM's own; give the System without "
                "it (`system`)"
            )
        if tag == "Particle" and "mass" in attributes and not _is_number(attributes["mass"]):  # OpenMM would take 0
            raise InputError(
                f"{self._source}: a mass is {attributes['mass']!r}, not a number [Da]; give another System"
            )
        self.parts.append(format_start(tag, attributes))

    def end(self, tag: str) -> None:
        self.parts.append(f"</{tag}>")


def _copy_checked(text: str, source: str) -> str:
    copy = _Copy(source)
    parse_xml(text, source, copy, expected="a serialized System")
    return "".join(copy.parts)


def _check_numbers(system: mm.System, path: str | Path) -> None:
    """See that OpenMM could simulate a System; it finds wrong indices and formulas only when it begins."""
    if system.getNumParticles() == 0:
        raise InputError(f"{path}: the System has no particles")
    text = mm.XmlSerializer.serialize(system)
    found = _NOT_FINITE.search(text) if '="NaN"' in text or 'Infinity"' in text else None
    if found:
        raise InputError(f"{path}: {found['name']}={found['value']} in a {found['element']}; give a System that runs")
    for k in range(system.getNumParticles()):
        mass = system.getParticleMass(k)._value
        if mass < 0.0:
            raise InputError(f"{path}: particle {k} has a mass of {mass:g} Da; give 0 (held fixed) or more (`system`)")
    try:
        mm.Context(system, mm.VerletIntegrator(0.001), mm.Platform.getPlatformByName("Reference"))
    except Exception as error:
        raise InputError(f"{path}: OpenMM cannot use this System: {_get_line(error)}") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _get_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
