"""What is compared, opened: run directories, or trajectory files with their topologies, under labels that differ."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from openmm_neuralmd.analysis.bundled import REPLICAS
from openmm_neuralmd.analysis.observation import RESERVED_LABELS
from openmm_neuralmd.checks import (
    a_sequence,
    check_arguments,
    check_path,
    check_text,
    optional,
    refuse_ignored,
    refuse_twice,
)
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.formats import is_hdf5
from openmm_neuralmd.io.trajectories import TrajectoryFile, open_run, open_trajectory
from openmm_neuralmd.text import check_label, clean_text

DEFAULT_LABEL = "NeuralMD"


@check_arguments(
    run=check_path,
    references=a_sequence(check_path, of="files"),
    run_top=optional(check_path),
    top=a_sequence(check_path, of="files"),
    label=optional(check_text),
)
def open_inputs(
    run: str | Path,
    references: Sequence[str | Path] = (),
    *,
    run_top: str | Path | None = None,
    top: Sequence[str | Path] = (),
    run_interval: float | None = None,
    interval: float | None = None,
    label: str | None = None,
) -> tuple[TrajectoryFile, list[TrajectoryFile]]:
    """A run and the references it is compared with.

    Args:
        run: Run directory, or trajectory file.
        references: Likewise, of MD; several are replicas.
        run_top: Topology of a run that is a trajectory file.
        top: Of the references that are such files: one for all, or one for each.
        run_interval, interval: Between frames [ps] of run and references, where files do not say it.
        label: What the run is called; ``DEFAULT_LABEL`` if None.

    Raises:
        InputError: If a file cannot be opened, an argument would have no effect, a reference is given twice, or
            something else has the label already.
    """
    run, paths, tops = Path(run), [Path(path) for path in references], [Path(path) for path in top]
    shown = check_label(DEFAULT_LABEL if label is None else label, "`label`")
    if run.is_dir():
        refuse_ignored({"run_top": run_top, "run_interval": run_interval}, f"with the run directory {run}")
    if all((path / "topology.pdb").is_file() for path in paths):
        where = "with run directories as `references`" if paths else "without `references`"
        refuse_ignored({"top": tops, "interval": interval}, where)
    refuse_twice("`references`", paths, "and would count as two replicas")
    if shown in RESERVED_LABELS:
        raise InputError(f"`label` {shown}: the report uses this name itself; choose another")
    if label is not None and shown in ([_label_reference(path) for path in paths] or REPLICAS):
        raise InputError(f"`label` {shown}: a reference is called so too; choose another")
    with _tell_of_run():
        opened = open_series(run, None if run_top is None else Path(run_top), interval=run_interval, label=shown)
    return opened, open_references(paths, tops, interval=interval, taken=opened.label)


def open_series(path: Path, top: Path | None, *, interval: float | None, label: str | None) -> TrajectoryFile:
    """A run directory, or a trajectory file with its topology.

    Raises:
        InputError: If it cannot be opened.
    """
    if path.is_dir():
        return open_run(path, label=label)
    if top is None and path.is_file() and not is_hdf5(path):
        raise InputError(f"{path}: give its topology (`top`), a PDB, PDBx, GRO, prmtop or TPR file")
    return open_trajectory(path, top, label=label, interval=interval)


def open_references(
    paths: Sequence[Path], tops: Sequence[Path], *, interval: float | None, taken: str = ""
) -> list[TrajectoryFile]:
    """The references, with labels that differ from each other, from ``taken`` and from ``RESERVED_LABELS``.

    Raises:
        InputError: If the numbers of trajectories and topologies do not fit, or one cannot be opened.
    """
    if len(tops) not in (0, 1, len(paths)):
        raise InputError(
            f"{len(tops)} topologies for {len(paths)} references: give one (`top`) for all, or one for each"
        )
    files: list[TrajectoryFile] = []
    for k, path in enumerate(paths):
        top = tops[k] if len(tops) == len(paths) else (tops[0] if tops else None)
        label = _label_reference(path)
        if label in {taken, *RESERVED_LABELS, *(f.label for f in files)}:
            label = f"{label} ({k + 1})"
        files.append(open_series(path, top, interval=interval, label=label))
    return files


def _label_reference(path: Path) -> str:
    return clean_text(path.name if path.is_dir() else path.stem)


@contextmanager
def _tell_of_run() -> Iterator[None]:
    """Errors about a trajectory's ``top`` and ``interval`` name those of the run."""
    try:
        yield
    except InputError as error:
        told = str(error).replace("`top`", "`run_top`").replace("`interval`", "`run_interval`")
        raise InputError(told) from error
