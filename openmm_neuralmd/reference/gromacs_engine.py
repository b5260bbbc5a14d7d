"""A reference run through GROMACS: grompp and mdrun for each phase, resumed from GROMACS' own checkpoints."""

import ctypes
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np

from openmm_neuralmd.errors import InputError, NeuralMDError, NonFiniteStateError
from openmm_neuralmd.files import give_ascii_path, require_room, write_atomically, write_whole
from openmm_neuralmd.io.directory import describe_end
from openmm_neuralmd.io.trajectories import open_trajectory
from openmm_neuralmd.io.writers import write_json
from openmm_neuralmd.molecule.bonds import find_bonds, find_parts
from openmm_neuralmd.molecule.images import bring_together, make_whole, remove_jumps, span_edges
from openmm_neuralmd.reference.directory import (
    REFERENCE_COLUMNS,
    PhaseProgress,
    Place,
    ReferenceFiles,
    end_session,
    note_versions,
)
from openmm_neuralmd.reference.energies import compare_energies, require_agreement
from openmm_neuralmd.reference.gromacs_files import (
    format_minimisation,
    format_phase,
    write_gromacs_topology,
    write_index,
    write_structure,
)
from openmm_neuralmd.reference.gromacs_tools import (
    call_gromacs,
    extract_error,
    find_gromacs,
    format_threads,
    make_environment,
    make_run_input,
    read_energy_file,
    read_version,
)
from openmm_neuralmd.reference.protocol import Phase, Protocol
from openmm_neuralmd.reference.system import MolecularSystem
from openmm_neuralmd.signals import hold_signals

_CHECKPOINT_MINUTES = "1"
_POLL_S = 0.2  # between looks at whether GROMACS has ended
_HEAVY_HYDROGEN_STEP_PS = 0.004  # longest timestep of hydrogens of 3 Da
_LOG_TERMS = ("Potential", "Temperature", "Volume", "Density")
_KG_PER_M3_IN_G_PER_ML = 1e-3  # GROMACS has the one, logs the other


def run_gromacs(
    molecules: MolecularSystem,
    protocol: Protocol,
    place: Place,
    record: dict[str, Any],
    *,
    threads: int | None = None,
    progress: PhaseProgress | None = None,
) -> None:
    """Run, or go on from GROMACS' checkpoints in the directory.

    A new run begins by comparing the energies of its start with OpenMM's; where they disagree nothing is run.

    Args:
        molecules: What to run; its start is in the directory already.
        protocol: Settings.
        place: Where the run is written; GROMACS' own files are in ``files.gromacs``.
        record: Content of ``run.json``; changed and written.
        threads: Of mdrun; all processors, or OMP_NUM_THREADS, if None.
        progress: Told how far the run is.

    Raises:
        InputError, NotImplementedError: If GROMACS is missing, cannot take the system, or disagrees on its energy.
        NonFiniteStateError: If mdrun fails.
    """
    find_gromacs()
    note_versions(record, gromacs=read_version())
    record["threads"] = threads
    write_json(place.files.record, record)
    with hold_signals() as act:
        run = _Run(molecules, protocol, place, threads, progress, act)
        if not (run.folder / "index.ndx").is_file():
            run.folder.mkdir(parents=True, exist_ok=True)
            run.report("checking energies", 0)
            comparison = compare_energies(molecules, threads=threads)
            require_agreement(comparison)
            comparison.write(place.files.energies)
            record["energies"] = comparison.as_dict()
            run.write_inputs()
        write_json(place.files.record, record)
        first = min(count_production_frames(place.files), protocol.n_frames)

        def end(status: str) -> None:
            if (run.folder / "production.xtc").is_file():
                write_results(protocol, place.files)
            last = min(count_production_frames(place.files), protocol.n_frames)
            end_session(place.files, record, status, (first, last), run.wall)

        try:
            run.go()
        except BaseException as error:
            with suppress(NeuralMDError):  # what went wrong first is what matters
                end(describe_end(error))
            raise
        end("finished")


def count_production_frames(files: ReferenceFiles) -> int:
    """Frames of production that GROMACS has written, without its first, which is the start."""
    source = files.gromacs / "production.xtc"
    if not source.is_file():
        return 0
    try:
        with give_ascii_path(source) as name, mdtraj.open(name) as file:
            return max(len(file) - 1, 0)
    except (OSError, RuntimeError, ValueError):  # cut within a frame
        return 0


def write_results(protocol: Protocol, files: ReferenceFiles) -> None:
    """From GROMACS' files: ``trajectory.xtc`` with whole molecules side by side, ``complex.tpr`` and ``log.csv``."""
    _write_whole(files, protocol)
    answers = "Complex\n"
    call_gromacs(
        ["convert-tpr", "-s", "production.tpr", "-n", "index.ndx", "-o", "../complex.tpr"],
        files.gromacs,
        answers=answers,
    )
    times, terms = read_energy_file(files.gromacs / "production.edr", _LOG_TERMS)
    columns = [terms.get(name, np.full(len(times), np.nan)) for name in _LOG_TERMS]
    columns[-1] = columns[-1] * _KG_PER_M3_IN_G_PER_ML
    rows = [
        f"{t:.4f}," + ",".join("" if np.isnan(v) else f"{v:.5f}" for v in values)
        for t, *values in zip(times, *columns, strict=True)
        if round(t / protocol.interval_ps, 3) in range(1, protocol.n_frames + 1)  # not where mdrun was interrupted
    ]
    write_atomically(files.log, "\n".join([",".join(REFERENCE_COLUMNS), *rows, ""]))


class _Run:
    """The phases one after another; a phase is done once mdrun has written its last structure."""

    def __init__(
        self,
        molecules: MolecularSystem,
        protocol: Protocol,
        place: Place,
        threads: int | None,
        progress: PhaseProgress | None,
        act: Callable[[], None],
    ) -> None:
        self.molecules, self.protocol, self.place = molecules, protocol, place
        self.threads, self.progress, self.act = threads, progress, act
        self.phases = protocol.list_phases()
        self.wall = 0.0

    @property
    def folder(self) -> Path:
        """Of GROMACS' files; it moves when the run takes the place of an earlier one."""
        return self.place.files.gromacs

    def write_inputs(self) -> None:
        """Topology, structure, run parameters; the index last, as the sign that all is there."""
        write_gromacs_topology(self.molecules, self.folder / "system.top")
        write_structure(self.molecules, self.folder / "start.gro")
        write_atomically(self.folder / "minimisation.mdp", format_minimisation(self.molecules))
        for k, phase in enumerate(self.phases):
            text = format_phase(self.molecules, self.protocol, phase, is_first=k == 0)
            write_atomically(self.folder / f"{phase.name}.mdp", text)
        write_index(self.molecules, self.folder / "index.ndx")

    def go(self) -> None:
        self.report("minimising", 0)
        if not self._is_done("minimisation"):
            make_run_input(self.folder, "minimisation", start="start.gro", accept_fast_bonds=True)
            self._run("minimisation", None)
        previous = "minimisation"
        for phase in self.phases:
            if phase.name == "production" and (self.folder / "production.tpr").is_file():
                self._set_length(phase)
            if not (self._is_done(phase.name) or self._is_beyond(phase)):
                if not (self.folder / f"{phase.name}.tpr").is_file():
                    make_run_input(
                        self.folder,
                        phase.name,
                        start=f"{previous}.gro",
                        checkpoint=None if previous == "minimisation" else f"{previous}.cpt",
                        accept_fast_bonds=self.protocol.timestep_ps <= _HEAVY_HYDROGEN_STEP_PS,
                    )
                self._run(phase.name, phase)
            previous = phase.name

    def report(self, phase: str, step: int) -> None:
        if self.progress is not None:
            dt = self.protocol.timestep_ps
            self.progress(phase, step * dt, self.phases[-1].last * dt)

    def _is_done(self, name: str) -> bool:
        return (self.folder / f"{name}.gro").is_file()

    def _is_beyond(self, phase: Phase) -> bool:
        """Whether an interrupted phase is as long already as is wanted now: mdrun would refuse to go on."""
        if not (self.folder / f"{phase.name}.cpt").is_file():
            return False
        text = call_gromacs(["dump", "-cp", f"{phase.name}.cpt"], self.folder)
        found = re.search(r"^step = (\d+)", text, re.MULTILINE)
        return found is not None and int(found[1]) >= phase.n_steps

    def _set_length(self, phase: Phase) -> None:
        """Give an earlier production the length that is wanted now, which may be shorter."""
        text = call_gromacs(["dump", "-s", "production.tpr"], self.folder)
        found = re.search(r"nsteps\s*=\s*(\d+)", text)
        if found is not None and int(found[1]) != phase.n_steps:
            until = f"{phase.n_steps * self.protocol.timestep_ps:.6f}"
            with write_whole(self.folder / "production.tpr") as changed:
                call_gromacs(["convert-tpr", "-s", "production.tpr", "-until", until, "-o", changed.name], self.folder)
            (self.folder / "production.gro").unlink(missing_ok=True)

    def _run(self, name: str, phase: Phase | None) -> None:
        """``gmx mdrun``, watched; a SIGTERM makes it write a checkpoint and end."""
        words = ["mdrun", "-deffnm", name, "-c", f"{name}.gro", "-cpt", _CHECKPOINT_MINUTES, "-cpo", f"{name}.cpt"]
        if (self.folder / f"{name}.cpt").is_file() and phase is not None:
            words += ["-cpi", f"{name}.cpt"]
        began = time.perf_counter()
        with (self.folder / f"{name}.out").open("w") as printed:
            process = subprocess.Popen(
                [find_gromacs(), "-quiet", *words, *format_threads(self.threads)],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env=make_environment(),
                start_new_session=True,  # Ctrl-C reaches us alone, and we tell it once
                preexec_fn=_die_with_parent,
            )
            try:
                while process.poll() is None:
                    time.sleep(_POLL_S)
                    self.act()
                    if name == "production":
                        self._settle()
                    if phase is not None:
                        self.report(
                            phase.name, phase.first + min(_read_step(self.folder / f"{name}.log"), phase.n_steps)
                        )
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
                if phase is not None and phase.name == "production":
                    self.wall += time.perf_counter() - began
        if process.returncode != 0 or not self._is_done(name):
            require_room(self.folder / f"{name}.log")
            printed_text = (self.folder / f"{name}.out").read_text(errors="replace")
            raise NonFiniteStateError(f"gmx mdrun failed in {name}: {extract_error(printed_text)}")
        if name == "production":
            self._settle()
        if phase is not None:
            self.report(phase.name, phase.last)

    def _settle(self) -> None:
        """With the first frame an earlier run goes; mdrun stays in its folder, which is moved."""
        if self.place.is_beside and count_production_frames(self.place.files) > 0:
            self.place.settle()


def _die_with_parent() -> None:
    """Ask Linux to end mdrun, with a checkpoint, when we are killed; elsewhere it would go on alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _read_step(log: Path) -> int:
    """The last step that mdrun's log tells of; 0 where it tells of none."""
    if not log.is_file():
        return 0
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 8000, 0))
        found = re.findall(rb"\n +Step +Time *\n +(\d+) ", file.read())
    return int(found[-1]) if found else 0


def _write_whole(files: ReferenceFiles, protocol: Protocol) -> None:
    """Write the frames after the start with molecules whole and next to each other; memory does not grow with them."""
    source = files.gromacs / "production.xtc"
    try:
        raw = open_trajectory(source, files.topology, interval=protocol.interval_ps)
    except InputError:  # not a frame yet
        return
    start = load_start(files)
    bonds, place = find_bonds(raw.topology, start, None), start.mean(axis=0)
    tree = span_edges(len(start), bonds)
    *others, largest = sorted(find_parts(len(start), bonds), key=len)
    with (
        write_whole(files.trajectory) as temporary,
        give_ascii_path(temporary, write=True) as name,
        mdtraj.open(name, "w") as target,
    ):
        for chunk in raw.iterate(np.arange(raw.topology.n_atoms), []):
            cells = chunk.unitcell_vectors
            if cells is not None:
                xyz = make_whole(chunk.xyz, cells, tree)
                xyz = bring_together(xyz, cells, others, xyz[:, largest].mean(axis=1))
                chunk.xyz = remove_jumps(xyz, cells, place)
                place = chunk.xyz[-1].mean(axis=0)
            half = 0.5 * protocol.interval_ps
            later = chunk[(chunk.time > half) & (chunk.time < protocol.time_ps + half)]
            target.write(later.xyz, time=later.time, box=later.unitcell_vectors)


def load_start(files: ReferenceFiles) -> np.ndarray:
    """Positions of the complex at the start [nm], (n_complex, 3)."""
    return np.asarray(mdtraj.load(str(files.topology)).xyz[0], dtype=np.float64)
