"""Names of residues: which are amino acids, water and ions, and which one a selection means."""

from typing import Any

from openmm_neuralmd.errors import InputError

RESIDUE_TYPES = "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL".split()
UNKNOWN_RESIDUE = len(RESIDUE_TYPES)
N_RESIDUE_TYPES = len(RESIDUE_TYPES) + 1
_PARENT_RESIDUE = {
    "HID": "HIS", "HIE": "HIS", "HIP": "HIS", "HSD": "HIS", "HSE": "HIS", "HSP": "HIS",
    "CYX": "CYS", "CYM": "CYS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "ARN": "ARG", "TYM": "TYR", "MSE": "MET",
    "HISA": "HIS", "HISB": "HIS", "HISD": "HIS", "HISE": "HIS", "HISH": "HIS", "HIS1": "HIS", "HIS2": "HIS",
    "CYSH": "CYS", "CYS1": "CYS", "CYS2": "CYS", "ASPH": "ASP", "ASPP": "ASP", "GLUH": "GLU", "GLUP": "GLU",
    "LYSH": "LYS", "LSN": "LYS",
}  # fmt: skip
_WATER_AND_IONS = frozenset("HOH WAT SOL TIP3 NA CL K MG CA ZN NA+ CL- K+ LI CS RB BR IOD".split())
_CAPS = frozenset(("ACE", "NME", "NMA", "NH2"))


def describe_residue(residue: Any) -> str:
    """NAME:CHAIN:NUMBER of a residue of an OpenMM topology."""
    return f"{residue.name}:{residue.chain.id}:{residue.id}"


def select_residue(topology: Any, selection: str) -> Any:
    """The residue of an OpenMM topology that NAME, NAME:CHAIN or NAME:CHAIN:NUMBER names.

    Raises:
        InputError: If there is none or several; the message lists what could be the ligand.
    """
    name, *place = selection.split(":")
    if len(place) > 2:
        raise InputError(f"ligand {selection!r}: give NAME, NAME:CHAIN or NAME:CHAIN:NUMBER")
    candidates = [r for r in topology.residues() if not is_reserved_name(r.name)]
    if is_reserved_name(name):
        raise InputError(
            f"ligand {selection!r}: {name} is the name of an amino acid, cap, water or ion; rename the ligand's residue"
        )
    found = [r for r in topology.residues() if r.name == name]
    for attribute, wanted in zip((lambda r: r.chain.id, lambda r: r.id), place, strict=False):
        found = [r for r in found if attribute(r) == wanted]
    if not found:
        listing = ", ".join(describe_residue(r) for r in candidates[:12]) or "no residue that could be a ligand"
        raise InputError(f"ligand {selection!r} not found; the structure holds {listing}")
    if len(found) > 1:
        names = [describe_residue(r) for r in found]
        remedy = "give each a chain or number of its own" if len(place) == 2 else "choose one as NAME:CHAIN:NUMBER"
        raise InputError(f"ligand {selection!r} found {len(found)} times ({', '.join(names[:12])}); {remedy}")
    return found[0]


def is_reserved_name(name: str) -> bool:
    """Whether a residue name is that of an amino acid, a cap, water or an ion, and so cannot be a ligand's."""
    name = name.upper()
    return get_parent_residue(name) in RESIDUE_TYPES or name in _WATER_AND_IONS or name in _CAPS


def get_parent_residue(name: str) -> str:
    """The amino acid behind a protonation state (HIE: HIS) or Amber's chain end (NALA: ALA), or the name itself."""
    upper = name.upper()
    if len(upper) == 4 and upper[0] in "NC" and (upper[1:] in RESIDUE_TYPES or upper[1:] in _PARENT_RESIDUE):
        upper = upper[1:]
    return upper if upper in RESIDUE_TYPES else _PARENT_RESIDUE.get(upper, name)
