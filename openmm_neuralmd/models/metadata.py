"""What a model file says about its model: each entry's form and bounds, stated once, for writing and for reading.

Whatever passes ``check_metadata`` can be used by all that read metadata, without a second look.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NoReturn

from rdkit import Chem, rdBase

from openmm_neuralmd.checks import MOST_STEPS_PER_SNAPSHOT, describe, is_count, is_number
from openmm_neuralmd.dynamics.scheme import find_schemes, join_noisy
from openmm_neuralmd.errors import InputError, ModelContractError
from openmm_neuralmd.models.registry import KINDS, STOCHASTIC_KINDS

SCHEMA_VERSION = 3
_DEEPEST = 16  # lists and dictionaries in each other
_LONGEST_SMILES = 10_000
_HEAVIEST_ELEMENT = 118
_MOST_FRAMES = 2**63


@dataclass(frozen=True)
class Value:
    """An entry: what is expected, in words, and whether a value is that."""

    expected: str
    accepts: Callable[[Any], bool]


@dataclass(frozen=True)
class ListOf:
    """A list of entries of one form."""

    form: "Form"


@dataclass(frozen=True)
class Record:
    """Named entries; others than the named ones are free unless ``is_closed``.

    Attributes:
        required, optional: Form of each entry by name.
        is_closed: Whether no other entry is known.
    """

    required: Mapping[str, "Form"] = field(default_factory=dict)
    optional: Mapping[str, "Form"] = field(default_factory=dict)
    is_closed: bool = False


Form = Value | ListOf | Record


def _integer(least: int, most: int) -> Value:
    return Value(f"an integer from {least} to {most}", lambda v: is_count(v) and least <= v <= most)


def _number(least: float, most: float, unit: str = "") -> Value:
    return Value(f"a number from {least:g} to {most:g}{unit}", lambda v: is_number(v) and least <= v <= most)


def _one_of(names: Sequence[str]) -> Value:
    return Value(f"one of {', '.join(names)}", lambda v: isinstance(v, str) and v in names)


def _has_sorted_elements(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(is_count(z) and 1 <= z <= _HEAVIEST_ELEMENT for z in value)
        and all(a < b for a, b in pairwise(value))
    )


def _is_smiles(value: Any) -> bool:
    """Whether RDKit reads a molecule as the readers of metadata do."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_SMILES:
        return False
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(value, sanitize=False)
        if molecule is None or molecule.GetNumAtoms() == 0:
            return False
        try:
            molecule.UpdatePropertyCache(strict=False)
        except Exception:  # RDKit's own kinds
            return False
    return True


def _is_range(value: Any) -> bool:
    is_pair = isinstance(value, list | tuple) and len(value) == 2 and all(is_count(n) for n in value)
    return is_pair and 0 <= value[0] <= value[1] <= _MOST_FRAMES


_TEXT = Value("a text", lambda v: isinstance(v, str))
_FLAG = Value("true or false", lambda v: isinstance(v, bool))
_FREE = Record()
_RANGE = Value("two frame numbers, first and end, such as [0, 230]", _is_range)
# One letter a residue; the longest protein known, titin, has 35 000.
_SEQUENCE = Value(
    "residues of a protein as letters from A to Z, at most 50000",
    lambda v: isinstance(v, str) and re.fullmatch("[A-Z]{1,50000}", v) is not None,
)
_SMILES = Value(f"the SMILES of a molecule, at most {_LONGEST_SMILES} characters", _is_smiles)

# Upper bounds are far beyond what is useful; they keep a wrong file from taking all memory. Below the lower ones of
# cutoffs a network has hardly a pair to learn from: bonds are 1.1 to 2.1 A long, CA atoms stand 4 A from a ligand's.
_BACKBONE: Mapping[str, Form] = {
    "hidden": _integer(2, 1024),
    "n_layers": _integer(1, 64),
    "n_radial": _integer(1, 1024),
    "ligand_cutoff": _number(2.0, 100.0, " A"),
    "pocket_cutoff": _number(4.0, 100.0, " A"),
}
_NEWTONIAN: Mapping[str, Form] = {
    "stochastic": _FLAG,
    "n_twists": _integer(0, 256),
    "n_fields": _integer(0, 256),
    "velocity_mapping": _FLAG,
    "velocity_refinement": _FLAG,
}
_CONFIGS: Mapping[str, Record] = {
    **{kind: Record(_BACKBONE, _NEWTONIAN, is_closed=True) for kind in ("ode", "sde", "gnn")},
    "denoising": Record(
        _BACKBONE,
        {
            "lowest": _number(1e-3, 10.0, " A"),
            "highest": _number(1e-3, 10.0, " A"),
            "n_levels": _integer(1, 1000),
            "n_channels": _integer(1, 256),
        },
        is_closed=True,
    ),
    "verlet": Record(_BACKBONE, {"has_force_field": _FLAG}, is_closed=True),
}
_COMPLEX = Record(
    {"ligand_smiles": _SMILES, "sequence": _SEQUENCE},
    {
        "name": _TEXT,
        "source": _TEXT,
        "ligand": _TEXT,
        "bond_orders": _one_of(("known", "unknown")),
        "notes": ListOf(_TEXT),
    },
)
_TRAJECTORY = Record(
    {"sha256": _TEXT, "frames_validation": _RANGE},
    {
        "complex": _TEXT,
        "file": _TEXT,
        "superposed_on": _TEXT,
        "frame_interval_ps": _number(1e-9, 1e12, " ps"),
        "frames": _integer(0, _MOST_FRAMES),
        "frames_training": _RANGE,
    },
)
_TRAINING = Record(
    optional={
        "command": _TEXT,
        "complex": _TEXT,
        "complexes": ListOf(_COMPLEX),
        "complexes_validation": ListOf(_TEXT),
        "complexes_skipped": _FREE,
        "leaks": ListOf(_TEXT),
        "trajectories": ListOf(_TRAJECTORY),
        "force_field": _FREE,
        "windows": _integer(0, 2**63),
        "device": _TEXT,
        "settings": _FREE,
    }
)
_METADATA = Record(
    {
        "schema_version": Value(f"the integer {SCHEMA_VERSION}", lambda v: is_count(v) and v == SCHEMA_VERSION),
        "kind": _one_of(tuple(KINDS)),
        "config": _FREE,  # by kind, see _CONFIGS
        "snapshot_interval": _number(1e-3, 1e6, " ps"),
        "elements": Value(
            f"atomic numbers from 1 to {_HEAVIEST_ELEMENT}, at least one, each once, in rising order",
            _has_sorted_elements,
        ),
        "scheme": _one_of(tuple(find_schemes())),
        "steps_per_snapshot": _integer(1, MOST_STEPS_PER_SNAPSHOT),
    },
    {"training": _TRAINING, "metrics": _FREE, "versions": _FREE},
)


def parse_metadata(content: bytes) -> dict[str, Any]:
    """Metadata from the JSON text of a model file, checked.

    Raises:
        ModelContractError: If the text is no JSON of UTF-8, names an entry twice, or says what no model can be; the
            message does not name the file.
    """
    try:
        metadata = json.loads(content.decode("utf-8"), object_pairs_hook=_read_record, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise ModelContractError("its metadata are no text of UTF-8; train or export the model again") from None
    except RecursionError:
        raise _describe_depth() from None
    except ValueError as error:
        raise ModelContractError(f"its metadata are no JSON: {error}; train or export the model again") from None
    check_metadata(metadata)
    return dict(metadata)


def check_metadata(metadata: Any) -> None:
    """Check that metadata are those of a model that this package can use.

    Raises:
        ModelContractError: Naming the entry, what was found and what was expected; the message does not name the file.
    """
    if not isinstance(metadata, Mapping):
        raise ModelContractError(
            f"its metadata are {describe(metadata)}; expected entries by name; train or export the model again"
        )
    try:
        _check_json(metadata, "", 0)
        _check_version(metadata)
        _check_form(metadata, _METADATA, "")
        _check_config(metadata["kind"], metadata["config"])
        if metadata["kind"] in STOCHASTIC_KINDS and not find_schemes()[metadata["scheme"]].takes_noise:
            _complain("scheme", metadata["scheme"], f"a scheme for models with noise ({join_noisy()})")
    except _EntryError as fault:
        raise ModelContractError(f"metadata {fault}; train or export the model again") from None


def check_config(kind: str, config: Any) -> None:
    """Check the arguments of a network of one of ``KINDS`` before it is built, as ``config`` in metadata later.

    Raises:
        InputError: Naming the entry, what was found and what was expected.
    """
    try:
        _check_form(kind, _METADATA.required["kind"], "kind")
        _check_config(kind, config)
    except _EntryError as fault:
        raise InputError(str(fault)) from None


class _EntryError(Exception):
    """What is wrong with an entry; the message says what was found and what was expected."""


def _check_config(kind: str, config: Any) -> None:
    _check_form(config, _CONFIGS[kind], "config")
    if config.get("stochastic", kind in STOCHASTIC_KINDS) != (kind in STOCHASTIC_KINDS):
        _complain("config.stochastic", config["stochastic"], f"what a model of kind {kind} is")
    if kind == "denoising" and not config.get("lowest", 0.03) < config.get("highest", 0.6):
        _complain("config.lowest", config.get("lowest", 0.03), "a noise level below config.highest")


def _check_version(metadata: Mapping[str, Any]) -> None:
    version: Any = metadata.get("schema_version")
    if not is_count(version):
        return  # told with the other entries
    if version > SCHEMA_VERSION:
        raise ModelContractError(
            f"schema version {describe(version)}, this openmm_neuralmd reads up to {SCHEMA_VERSION}; update the package"
        )
    if version < SCHEMA_VERSION:
        raise ModelContractError(
            f"schema version {describe(version)} is of an earlier openmm_neuralmd, this one reads {SCHEMA_VERSION}; "
            "train the model again"
        )


def _check_form(value: Any, form: Form, place: str) -> None:
    if isinstance(form, Value):
        if not form.accepts(value):
            _complain(place, value, form.expected)
    elif isinstance(form, ListOf):
        if not isinstance(value, list | tuple):
            _complain(place, value, "a list")
        for k, entry in enumerate(value):
            _check_form(entry, form.form, f"{place}[{k}]")
    else:
        _check_record(value, form, place)


def _check_record(value: Any, form: Record, place: str) -> None:
    if not isinstance(value, Mapping):
        _complain(place, value, "entries by name")
    missing = [name for name in form.required if name not in value]
    if missing:
        raise _EntryError(f"{f'entry {place} ' if place else ''}lack{'s' if place else ''} {', '.join(missing)}")
    known = {**form.required, **form.optional}
    if form.is_closed and (unknown := [name for name in value if name not in known]):
        _complain(_join(place, unknown[0]), value[unknown[0]], f"only {', '.join(known)}")
    for name, entry in value.items():
        if name in known:
            _check_form(entry, known[name], _join(place, name))


def _check_json(value: Any, place: str, depth: int) -> None:
    """Numbers that JSON knows, texts that can be printed, and no nesting that exhausts those who walk through it."""
    if depth > _DEEPEST:
        raise _describe_depth()
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if not isinstance(key, str):
                _complain(place, key, "texts as names of entries")
            _check_json(key, place, depth + 1)
            _check_json(entry, _join(place, key), depth + 1)
    elif isinstance(value, list | tuple):
        for k, entry in enumerate(value):
            _check_json(entry, f"{place}[{k}]", depth + 1)
    elif isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            _complain(place, ascii(value), "a text of whole characters")
    elif isinstance(value, float):
        if not is_number(value):
            _complain(place, value, "a finite number")
    elif value is not None and not isinstance(value, int):
        _complain(place, value, "what JSON knows: numbers, texts, lists, entries by name")


def _read_record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the entry {twice[:60]!r} is there twice")
    return record


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _join(place: str, name: str) -> str:
    return f"{place}.{name}"[:80] if place else name[:80]


def _describe_depth() -> ModelContractError:
    return ModelContractError(
        f"its metadata are nested more than {_DEEPEST} levels deep; train or export the model again"
    )


def _complain(place: str, found: Any, expected: str) -> NoReturn:
    place = "".join(character if character.isprintable() else "?" for character in place)
    raise _EntryError(f"entry {place or 'as a whole'} is {describe(found)}; expected {expected}")
