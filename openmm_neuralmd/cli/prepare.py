"""``neuralmd prepare``: a folder that ``neuralmd simulate`` runs, out of a deposited structure."""

import argparse
import json
import shlex

from openmm_neuralmd.cli.options import add_ligand_option
from openmm_neuralmd.cli.parsing import translate
from openmm_neuralmd.cli.values import read_names, real, whole
from openmm_neuralmd.preparation.download import download_entry
from openmm_neuralmd.preparation.prepare import DEFAULT_MAX_GAP, Preparation, prepare_complex

_CHANGES = {
    "chains_left_out": "chains left out",
    "molecules_kept_rigid": "kept rigid, without force on the ligand",
    "molecules_removed": "molecules removed",
    "molecules_left_out_elsewhere": "molecules left out, far from the ligand",
    "alternate_locations": "alternate locations chosen by occupancy",
    "renamed": "renamed",
    "residues_replaced": "nonstandard residues replaced",
    "gaps_built": "short gaps built",
    "gaps_capped": "gaps left open and capped",
    "ends_capped": "chain ends capped, residues missing",
    "atoms_built": "missing atoms built",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``neuralmd prepare``."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("source", nargs="?", metavar="PDB", help="PDB or mmCIF file, as deposited or otherwise")
    source.add_argument("--pdb-id", metavar="ID", help="download this entry of the PDB (kept in ~/.cache)")
    add_ligand_option(parser, required=True)
    parser.add_argument(
        "--chain", dest="chains", metavar="A,B", help="protein chains to keep (default: within 5 Å of the ligand)"
    )
    chemistry = parser.add_mutually_exclusive_group()
    chemistry.add_argument("--smiles", help="the ligand's bond orders and protonation")
    chemistry.add_argument("--sdf", help="the same from an SDF file (default: Chemical Component Dictionary, online)")
    parser.add_argument(
        "--ph", **real(least=0.0, most=14.0), default=7.0, help="for the protein's hydrogens (default: %(default)s)"
    )
    parser.add_argument(
        "--max-gap",
        **whole(least=0),
        default=DEFAULT_MAX_GAP,
        metavar="N",
        help="build gaps of up to N residues, cap longer ones (default: %(default)s)",
    )
    parser.add_argument("--remove", metavar="SO4,GOL", help="ions and molecules to leave out (default: keep, rigid)")
    parser.add_argument("--force", dest="overwrite", action="store_true", help="replace a prepared complex in DIR")
    parser.add_argument("--json", action="store_true", help="print the protocol as JSON")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")


def run(args: argparse.Namespace) -> None:
    """Prepare and say what was changed; the full protocol is in ``prepare.json``."""
    preparation = prepare_complex(
        download_entry(args.pdb_id) if args.pdb_id else args.source,
        args.ligand,
        args.out,
        chains=read_names("--chain", args.chains) if args.chains else None,
        smiles=args.smiles,
        sdf=args.sdf,
        ph=args.ph,
        max_gap=args.max_gap,
        remove=read_names("--remove", args.remove) if args.remove else (),
        overwrite=args.overwrite,
    )
    print(json.dumps(preparation.protocol, indent=2) if args.json else translate(_format(preparation), args.names))


def _format(preparation: Preparation) -> str:
    protocol, complex_ = preparation.protocol, preparation.complex
    ligand = protocol["ligand"]
    lines = [
        f"ligand {protocol['ligand_selection']}: {ligand['formula']}, charge {ligand['charge']:+d}, {ligand['smiles']}",
        f"  bond orders from {ligand['bond_orders_from']}",
        f"protein: {complex_.protein.n_residues} residues, chain {', '.join(protocol['chains_kept'])}, pH "
        f"{protocol['ph']:g}; {_count(protocol['waters_removed'], 'water')} removed",
    ]
    if protocol["models_in_file"] > 1:
        lines.append(f"model {protocol['model_used']} of {protocol['models_in_file']} used")
    lines += [f"{title}: {_join(protocol[key])}" for key, title in _CHANGES.items() if protocol[key]]
    lines += [f"warning: {warning}" for warning in preparation.warnings]
    folder = preparation.folder
    command = f"neuralmd simulate {shlex.quote(str(folder))} --out RUN"
    lines.append(f"{folder}: complex.pdb, ligand.sdf, prepare.json; run it with: {command}")
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _join(entries: list[str], limit: int = 6) -> str:
    shown = "; ".join(entries[:limit])
    return shown if len(entries) <= limit else f"{shown}; and {len(entries) - limit} more (prepare.json)"
