"""Where complexes and their trajectories come from: files of one complex, a table of several, or MISATO's file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from openmm_neuralmd.checks import (
    a_number,
    a_sequence,
    check_arguments,
    check_callable,
    check_path,
    check_text,
    optional,
    refuse_ignored,
    refuse_twice,
)
from openmm_neuralmd.data.entries import Entry, load_misato_entries, load_table
from openmm_neuralmd.data.trajectories import ReadTrajectory, load_ligand_trajectory
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.structures import find_structure_file, load_structure
from openmm_neuralmd.molecule.complex import is_prepared, load_bundled_complex, load_prepared_complex
from openmm_neuralmd.molecule.residues import select_residue

BUNDLED_COMPLEX = "bundled"
"""The name of the bundled 4G3E where a file of a complex is asked for."""


@dataclass(frozen=True)
class Data:
    """Complexes by part, and why others of the list cannot be used, by name.

    Attributes:
        parts: "training", "validation" or "test", and its complexes.
        skipped: Reasons.
    """

    parts: dict[str, list[Entry]]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What was mended or guessed on reading."""
        entries = [entry for part in self.parts.values() for entry in part]
        return [n for e in entries for n in (*e.complex.notes, *(n for t in e.trajectories for n in t.notes))]


@check_arguments(
    trajectories=a_sequence(check_path, of="files"),
    part=check_text,
    ligand=optional(check_text),
    frame_interval=optional(a_number(above=0.0)),
    read=check_callable,
    progress=optional(check_callable),
    **{
        name: optional(check_path)
        for name in ("top", "complex_file", "sdf", "complexes", "misato", "split_file", "validation_file")
    },
)
def load_data(
    trajectories: Sequence[str | Path] = (),
    *,
    part: str,
    top: str | Path | None = None,
    complex_file: str | Path | None = None,
    ligand: str | None = None,
    sdf: str | Path | None = None,
    complexes: str | Path | None = None,
    misato: str | Path | None = None,
    split_file: str | Path | None = None,
    validation_file: str | Path | None = None,
    frame_interval: float | None = None,
    superpose_on: str | None = None,
    read: ReadTrajectory = load_ligand_trajectory,
    progress: Callable[[int, int], None] | None = None,
) -> Data:
    """The complexes of one of three sources, with their trajectories.

    Args:
        trajectories: Of one complex.
        part: Which part of a split the trajectories, or the names in ``split_file``, are: "training" or "test".
        top: Topology of the trajectories.
        complex_file: Rigid protein and ligand pose of theirs, a folder of ``neuralmd prepare``, or
            ``BUNDLED_COMPLEX``; the topology if None.
        ligand, sdf: As in ``load_structure``.
        complexes: Table of several complexes, see ``load_table``.
        misato: MISATO's file, of which ``split_file`` and ``validation_file`` list names.
        frame_interval: [ps], where files do not say it.
        superpose_on: CA atoms of the "pocket" or of "all" residues; "pocket" if None, for MISATO "all".
        read: Reads a trajectory of one complex.
        progress: Called with the number of complexes of a list that are read, and of how many in all.

    Raises:
        InputError: If not exactly one source is given, arguments are missing, or files cannot be read.
    """
    given = {"a trajectory": trajectories, "`complexes`": complexes, "`misato`": misato}
    sources = [name for name, value in given.items() if value]
    if len(sources) != 1:
        raise InputError(
            f"{' and '.join(sources) or 'nothing'} given: give trajectories with `top` and `ligand`, or `complexes`, "
            "or `misato` with `split_file`"
        )
    of_one = {"top": top, "complex_file": complex_file, "ligand": ligand, "sdf": sdf}
    of_misato = {"split_file": split_file, "validation_file": validation_file}
    unused = {**({} if trajectories else of_one), **({} if misato else of_misato)}
    wrong = [f"`{name}`" for name, value in unused.items() if value]
    if wrong:
        raise InputError(f"{', '.join(wrong)} cannot be used with {sources[0]}: leave it out")
    refuse_twice("trajectory", trajectories, "and would count as two")
    if trajectories:
        top_name, complex_name = (None if name is None else str(name) for name in (top, complex_file))
        entry = _load_entry(
            list(map(str, trajectories)),
            top_name,
            complex_name,
            ligand,
            sdf,
            frame_interval,
            superpose_on or "pocket",
            read,
        )
        return Data({part: [entry]})
    if complexes:
        return Data(load_table(complexes, frame_interval=frame_interval, superpose_on=superpose_on or "pocket"))
    if split_file is None:
        raise InputError("`misato` needs `split_file`: a list of complexes, one name a line")
    skipped: dict[str, str] = {}
    lists = {part: split_file, **({"validation": validation_file} if validation_file else {})}
    parts = {
        name: load_misato_entries(
            misato or "",
            path,
            skipped,
            frame_interval=frame_interval,
            superpose_on=superpose_on or "all",
            progress=progress,
        )
        for name, path in lists.items()
    }
    return Data(parts, skipped)


def _load_entry(
    paths: Sequence[str],
    top: str | None,
    complex_file: str | None,
    ligand: str | None,
    sdf: str | Path | None,
    frame_interval: float | None,
    superpose_on: str,
    read: ReadTrajectory,
) -> Entry:
    if complex_file == BUNDLED_COMPLEX:
        refuse_ignored({"sdf": sdf}, f"with `complex_file={BUNDLED_COMPLEX}`, which has its own")
        complex_ = load_bundled_complex()
        if ligand is not None:
            select_residue(complex_.topology, ligand)
    elif complex_file and ligand is None and sdf is None and is_prepared(complex_file):
        complex_ = load_prepared_complex(complex_file)
    else:
        source = find_structure_file(complex_file, top, paths)
        if source is None or ligand is None:
            raise InputError(
                "give `ligand`, and `top` or `complex_file`: which residue is the ligand, and in which protein"
            )
        complex_ = load_structure(
            source, ligand, sdf=sdf, trajectory=None if complex_file else paths[0], frame_interval=frame_interval
        )
    trajectories = [
        read(path, top, complex_, frame_interval=frame_interval, superpose_on=superpose_on) for path in paths
    ]
    return Entry(complex_, trajectories)
