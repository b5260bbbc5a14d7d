"""What ``prepare_complex`` takes: a checker for each argument, by its name."""

from openmm_neuralmd.checks import (
    Check,
    a_count,
    a_number,
    a_sequence,
    an_instance,
    check_callable,
    check_flag,
    check_path,
    check_text,
    optional,
)

PREPARATION_ARGUMENTS: dict[str, Check] = {
    "source": check_path,
    "ligand": check_text,
    "out": check_path,
    "chains": optional(a_sequence(check_text, of="names of chains")),
    "smiles": optional(an_instance(str, of="a SMILES, a text")),
    "sdf": optional(check_path),
    "ph": a_number(),
    "max_gap": a_count(least=0),
    "remove": a_sequence(check_text, of="names of residues"),
    "overwrite": check_flag,
    "fetch": check_callable,
}
