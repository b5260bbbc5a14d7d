"""What a model file says about its model: each entry's form and bounds, stated once, for writing and for reading.

Whatever passes ``check_metadata`` can be used by all that read metadata, without a second look.
"""

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NoReturn

from rdkit import Chem, rdBase

from openmm_neuralmd.checks import MOST_STEPS_PER_SNAPSHOT, describe, is_count, is_number
from openmm_neuralmd.dynamics.scheme import find_schemes, join_noisy
from openmm_neuralmd.errors import InputError, ModelContractError
from openmm_neuralmd.models.forms import (
    FREE,
    TEXT,
    EntryError,
    ListOf,
    Record,
    Value,
    check_form,
    complain,
    integer,
    join_place,
    number,
    one_of,
)
from openmm_neuralmd.models.kinds.kind import Kind
from openmm_neuralmd.models.registry import get_kind, list_kinds

SCHEMA_VERSION = 3  # raised where files of before would be read wrongly
_DEEPEST = 16  # lists and dictionaries in each other
_LONGEST_SMILES = 10_000  # characters; a ligand has some dozens, a protein thousands
_HEAVIEST_ELEMENT = 118  # oganesson
_MOST_FRAMES = 2**63  # what a 64-bit integer counts


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


_RANGE = Value("two frame numbers, first and end, such as [0, 230]", _is_range)
# One letter a residue; the longest protein known, titin, has 35 000.
_SEQUENCE = Value(
    "residues of a protein as letters from A to Z, at most 50000",
    lambda v: isinstance(v, str) and re.fullmatch("[A-Z]{1,50000}", v) is not None,
)
_SMILES = Value(f"the SMILES of a molecule, at most {_LONGEST_SMILES} characters", _is_smiles)

_COMPLEX = Record(
    {"ligand_smiles": _SMILES, "sequence": _SEQUENCE},
    {
        "name": TEXT,
        "source": TEXT,
        "ligand": TEXT,
        "bond_orders": one_of(("known", "unknown")),
        "notes": ListOf(TEXT),
    },
)
_TRAJECTORY = Record(
    {"sha256": TEXT, "frames_validation": _RANGE},
    {
        "complex": TEXT,
        "file": TEXT,
        "superposed_on": TEXT,
        "frame_interval_ps": number(1e-9, 1e12, " ps"),
        "frames": integer(0, _MOST_FRAMES),
        "frames_training": _RANGE,
    },
)
_TRAINING = Record(
    optional={
        "command": TEXT,
        "complex": TEXT,
        "complexes": ListOf(_COMPLEX),
        "complexes_validation": ListOf(TEXT),
        "complexes_skipped": FREE,
        "leaks": ListOf(TEXT),
        "trajectories": ListOf(_TRAJECTORY),
        "force_field": FREE,
        "windows": integer(0, 2**63),
        "device": TEXT,
        "settings": FREE,
    }
)
_METADATA = Record(
    {
        "schema_version": Value(f"the integer {SCHEMA_VERSION}", lambda v: is_count(v) and v == SCHEMA_VERSION),
        "kind": TEXT,  # of the registry, see _find_kind
        "config": FREE,  # of the kind, see Kind.config_form
        "snapshot_interval": number(1e-3, 1e6, " ps"),
        "elements": Value(
            f"atomic numbers from 1 to {_HEAVIEST_ELEMENT}, at least one, each once, in rising order",
            _has_sorted_elements,
        ),
        "scheme": TEXT,  # of find_schemes, which imports what other packages offer
        "steps_per_snapshot": integer(1, MOST_STEPS_PER_SNAPSHOT),
    },
    {"training": _TRAINING, "metrics": FREE, "versions": FREE},
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
        check_form(metadata, _METADATA, "")
        kind = _find_kind(metadata["kind"])
        _check_config(kind, metadata["config"])
        check_form(metadata["scheme"], one_of(tuple(find_schemes())), "scheme")
        if kind.is_force and kind.is_random and not find_schemes()[metadata["scheme"]].takes_noise:
            complain("scheme", metadata["scheme"], f"a scheme for models with noise ({join_noisy()})")
    except EntryError as fault:
        raise ModelContractError(f"metadata {fault}; train or export the model again") from None


def check_config(kind: str, config: Any) -> None:
    """Check the arguments of a network before it is built, as ``config`` in metadata later.

    Args:
        kind: Its name.
        config: By name.

    Raises:
        InputError: Naming the entry, what was found and what was expected.
    """
    try:
        _check_config(_find_kind(kind), config)
    except EntryError as fault:
        raise InputError(str(fault)) from None


def _check_config(kind: Kind, config: Any) -> None:
    check_form(config, kind.config_form, "config")
    if (fault := kind.find_config_fault(config)) is not None:
        complain(f"config.{fault.entry}", fault.found, fault.expected)


def _find_kind(name: Any) -> Kind:
    check_form(name, one_of(list_kinds()), "kind")
    return get_kind(name)


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


def _check_json(value: Any, place: str, depth: int) -> None:
    """Numbers that JSON knows, texts that can be printed, and no nesting that exhausts those who walk through it."""
    if depth > _DEEPEST:
        raise _describe_depth()
    if isinstance(value, Mapping):
        for key, entry in value.items():
            if not isinstance(key, str):
                complain(place, key, "texts as names of entries")
            _check_json(key, place, depth + 1)
            _check_json(entry, join_place(place, key), depth + 1)
    elif isinstance(value, list | tuple):
        for k, entry in enumerate(value):
            _check_json(entry, f"{place}[{k}]", depth + 1)
    elif isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            complain(place, ascii(value), "a text of whole characters")
    elif isinstance(value, float):
        if not is_number(value):
            complain(place, value, "a finite number")
    elif value is not None and not isinstance(value, int):
        complain(place, value, "what JSON knows: numbers, texts, lists, entries by name")


def _read_record(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the entry {twice[:60]!r} is there twice")
    return record


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _describe_depth() -> ModelContractError:
    return ModelContractError(
        f"its metadata are nested more than {_DEEPEST} levels deep; train or export the model again"
    )
