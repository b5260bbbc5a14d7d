"""From a complex and a model to a finished run directory that can be resumed to the byte."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import openmm as mm
import torch

from openmm_neuralmd.checks import check_arguments
from openmm_neuralmd.dynamics.noise import NOISE
from openmm_neuralmd.dynamics.state import FARTHEST_NM
from openmm_neuralmd.dynamics.threads import use_threads
from openmm_neuralmd.errors import InputError, NonFiniteStateError, StorageError
from openmm_neuralmd.files import check_writable, hash_arrays
from openmm_neuralmd.folders import own_folder
from openmm_neuralmd.io.checkpoint import Checkpoint, read_checkpoint
from openmm_neuralmd.io.conversion import check_formats, write_copies
from openmm_neuralmd.io.directory import (
    LOG_COLUMNS,
    RunFiles,
    RunPlace,
    check_files,
    check_folder,
    check_nothing_is_lost,
    collect_versions,
    compare_versions,
    count_iterations,
    describe_end,
    read_earlier_record,
)
from openmm_neuralmd.io.writers import (
    START_AGAIN,
    CSVWriter,
    DCDWriter,
    check_topology,
    write_json,
    write_topology,
)
from openmm_neuralmd.models.applicability import assess_applicability
from openmm_neuralmd.models.bound import BoundModel
from openmm_neuralmd.models.export import Model
from openmm_neuralmd.molecule.complex import Complex
from openmm_neuralmd.signals import hold_signals
from openmm_neuralmd.simulation.arguments import RUN_ARGUMENTS
from openmm_neuralmd.simulation.computation import gives_force, map_velocities, number_scheme
from openmm_neuralmd.simulation.force import NeuralMDForce
from openmm_neuralmd.simulation.integrators import NeuralMDIntegrator
from openmm_neuralmd.simulation.programs import VIBRATION_VARIABLE
from openmm_neuralmd.simulation.rigid import build_rigid_system
from openmm_neuralmd.simulation.snapshots import SnapshotPath, unpack

_log = logging.getLogger(__name__)
Progress = Callable[[int, float], None]


@check_arguments(**RUN_ARGUMENTS)
def simulate(
    complex_: Complex,
    model: Model | BoundModel,
    out: str | Path,
    *,
    n_snapshots: int = 100,
    steps_per_snapshot: int | None = None,
    scheme: str | None = None,
    seed: int = 0,
    projection: bool = True,
    backend: str = "python",
    platform: str = "CPU",
    threads: int | None = 1,
    resume: bool = False,
    overwrite: bool = False,
    formats: Sequence[str] = (),
    progress: Progress | None = None,
) -> RunFiles:
    """Run a complex from its positions, with zero initial velocity, and write every snapshot; any kind of model does.

    Snapshots 1 to ``n_snapshots`` become frames of ``trajectory.dcd`` and rows of ``log.csv``; ``topology.pdb`` holds
    the start. At any time, also after SIGKILL, the files are good up to the last snapshot, and a resumed run gives
    the same bytes as an uninterrupted one on the same platform with the same number of threads.

    Args:
        complex_: Where the run starts.
        model: A loaded model, bound here, or a bound one.
        out: Run directory, created if absent.
        n_snapshots: Of the whole run; when resuming, the earlier ones count.
        steps_per_snapshot, scheme: The model's own if None.
        seed: Of the noise.
        projection: Whether bonds are brought back after each step.
        backend: What evaluates the model, see ``simulation.force.BACKENDS``; "auto" for the best that works.
        platform: OpenMM's name for it; OpenMM never chooses.
        threads: Of OpenMM's CPU platform and torch, theirs if None. One ligand is hardly faster with two, and on a busy
            machine threads that wait for one another can make it a hundred times slower.
        resume: Go on from the last snapshot in ``out``.
        overwrite: Replace a run in ``out``.
        formats: "xtc", "nc" or "h5" for copies of the trajectory, written whole when the session ends.
        progress: Called with the snapshots done and the simulated time [ps], first with those already there.

    Raises:
        InputError: If a setting cannot be used, or ``out`` holds a run that is not to be resumed or replaced.
        NonFiniteStateError, ProjectionError: If the run breaks; the message names the step.
    """
    if n_snapshots < 1:
        raise InputError(f"n_snapshots is {n_snapshots}; give 1 or more")
    check_formats(formats)
    files = RunFiles(Path(out))
    check_writable(files.folder)
    with own_folder(files.folder):
        check_folder(files, resume=resume, overwrite=overwrite)
        openmm_platform = find_platform(platform)
        with use_threads(threads):
            force = NeuralMDForce(complex_, model, seed=seed, projection=projection, backend=backend)
        complex_ = force.complex
        system = build_rigid_system(complex_)
        held = force.add_to(system)
        integrator = NeuralMDIntegrator(force, scheme=scheme, steps_per_snapshot=steps_per_snapshot)
        context = _create_context(system, integrator, openmm_platform, threads)
        settings = {
            "noise": NOISE,
            "complex_sha256": _hash_complex(complex_),
            "model_sha256": force.model.sha256,
            "scheme": integrator.scheme,
            "steps_per_snapshot": integrator.inner_steps if integrator.by_snapshots else integrator.steps_per_snapshot,
            "seed": seed,
            "projection": projection,
            "backend": force.backend,
            "platform": openmm_platform.getName(),
            "threads": threads,
        }
        earlier = read_earlier_record(files, settings) if resume else {"sessions": []}
        start = _find_start(files, force, integrator, n_snapshots, resume=resume)
        versions = collect_versions(torch=torch.__version__)
        if resume and (note := compare_versions(earlier, versions)):
            _log.warning("note: %s", note)
        metadata = dict(model.metadata) if isinstance(model, Model) else None
        record = {
            "status": "running",
            "settings": {"n_snapshots": n_snapshots, **settings},
            "complex": complex_.source,
            "complex_notes": list(complex_.notes),
            "ligand": complex_.ligand.name,
            "kind": getattr(force.model, "kind", None),
            "model_path": str(force.model.path),
            "model_metadata": metadata,
            "applicability": None if metadata is None else asdict(assess_applicability(complex_, metadata)),
            "snapshot_interval_ps": force.model.snapshot_interval,
            "timestep_ps": integrator.getStepSize()._value,
            "held_fixed": str(held),
            "versions": versions,
            "sessions": earlier["sessions"],
        }
        place = RunPlace(files, replaces=overwrite and bool(files.list_existing()))
        try:
            with use_threads(threads):
                _Run(force, integrator, context, place, record).go(start, n_snapshots, progress)
        except BaseException:
            with suppress(StorageError):  # what went wrong first is what matters
                _end(place, formats, force.model.snapshot_interval)
            raise
        _end(place, formats, force.model.snapshot_interval)
    return files


def _end(place: RunPlace[RunFiles], formats: Sequence[str], interval: float) -> None:
    if place.is_beside:
        place.leave()
    else:
        write_copies(place.files, formats, interval=interval)


def find_platform(name: str) -> mm.Platform:
    """The OpenMM platform of this name in any case.

    Raises:
        InputError: If there is none; the message lists those that are there.
    """
    available = [mm.Platform.getPlatform(k) for k in range(mm.Platform.getNumPlatforms())]
    for candidate in available:
        if candidate.getName().lower() == name.lower():
            return candidate
    raise InputError(f"no OpenMM platform {name!r} here; choose one of {', '.join(p.getName() for p in available)}")


class _Run:
    """The loop over snapshots: steps, then frame, row and checkpoint, in this order."""

    def __init__(
        self,
        force: NeuralMDForce,
        integrator: NeuralMDIntegrator,
        context: mm.Context,
        place: RunPlace[RunFiles],
        record: dict[str, Any],
    ) -> None:
        self.force, self.integrator, self.context = force, integrator, context
        self.place, self.record = place, record
        self.complex, self.ligand = force.complex, force.complex.ligand
        self.interval = force.model.snapshot_interval
        self.start_xyz = self.complex.positions[self.ligand.atom_indices]
        self.bond_lengths = self._compute_bond_lengths(self.ligand.geometry)

    def go(self, start: Checkpoint, n_snapshots: int, progress: Progress | None) -> None:
        began, done = time.perf_counter(), start.snapshot
        kept, files = max(start.snapshot - 1, 0), self.place.files
        n_atoms = self.complex.topology.getNumAtoms()
        if start.snapshot == 0 or not files.topology.exists():
            write_topology(files.topology, self.complex)
        write_json(files.record, self.record)
        with (
            hold_signals() as act,
            closing(
                DCDWriter(
                    files.trajectory,
                    n_atoms,
                    frame_interval=self.interval,
                    n_frames=kept,
                    digest=start.trajectory_digest,
                )
            ) as trajectory,
            closing(CSVWriter(files.log, LOG_COLUMNS, n_rows=kept, digest=start.log_digest)) as log,
        ):
            try:
                positions = self._restore(start)
                if start.snapshot > 0:  # its own frame and row may be damaged
                    trajectory.write(positions)
                    log.write(start.row)
                _report(progress, done, done * self.interval)
                while done < n_snapshots:
                    self._advance(done + 1, trajectory, log)
                    done += 1
                    trajectory.path, log.path = self._settle()
                    _report(progress, done, done * self.interval)
                    act()
            except BaseException as error:
                with suppress(StorageError):  # the disk may be full; what went wrong first is what matters
                    self._record_session(describe_end(error), start.snapshot, done, time.perf_counter() - began)
                raise
            self._record_session("finished", start.snapshot, done, time.perf_counter() - began)

    def _settle(self) -> tuple[Path, Path]:
        """Where trajectory and log are, once a snapshot is there."""
        files = self.place.settle()
        return files.trajectory, files.log

    def _restore(self, start: Checkpoint) -> np.ndarray:
        """Put the context into a state; positions of all atoms [nm], (n_atoms, 3)."""
        positions = self.complex.positions.copy()
        positions[self.ligand.atom_indices] = start.positions
        velocities = np.zeros_like(positions)
        velocities[self.ligand.atom_indices] = start.velocities
        self.context.setPositions(positions)
        self.context.computeVirtualSites()
        self.context.setVelocities(velocities)
        if self.integrator.getNumPerDofVariables() and start.vibration.any():
            vibration = np.zeros_like(positions)
            vibration[self.ligand.atom_indices] = start.vibration
            self.integrator.setPerDofVariableByName(VIBRATION_VARIABLE, vibration)
            self.force.computation.last_vibration = start.vibration
        self.context.setStepCount(start.step)
        self.context.setTime(start.snapshot * self.interval)
        return self.context.getState(positions=True).getPositions(asNumpy=True)._value

    def _advance(self, snapshot: int, trajectory: DCDWriter, log: CSVWriter) -> None:
        before = self.force.computation.n_iterations
        self.integrator.step(self.integrator.steps_per_snapshot)
        state = self.context.getState(positions=True, velocities=True)
        positions = state.getPositions(asNumpy=True)._value
        xyz = positions[self.ligand.atom_indices]
        step = self.context.getStepCount()
        if not np.abs(xyz).max() < FARTHEST_NM:
            raise NonFiniteStateError(f"step {step}: ligand positions are NaN or beyond {FARTHEST_NM:g} nm")
        row = self._format_row(snapshot, xyz, self.force.computation.n_iterations - before)
        digests = trajectory.digest, log.digest
        trajectory.write(positions)
        log.write(row)
        trajectory.sync()  # before the checkpoint says so
        log.sync()
        velocities = state.getVelocities(asNumpy=True)._value[self.ligand.atom_indices]
        vibration = self.force.computation.last_vibration
        checkpoint = Checkpoint(snapshot, step, xyz, velocities, vibration, row, *digests, kept=self._pack(step, xyz))
        checkpoint.write(self.place.files.checkpoint)

    def _pack(self, step: int, xyz: np.ndarray) -> dict[str, np.ndarray]:
        """What the propagator keeps of a model that is no force."""
        if not self.integrator.by_snapshots:
            return {}
        kept = _find_path(self.force, self.integrator).find(step, xyz, lambda shown: shown)
        return {} if kept is None else kept.pack()

    def _format_row(self, snapshot: int, xyz: np.ndarray, iterations: int) -> str:
        rmsd = np.sqrt(((xyz - self.start_xyz) ** 2).sum(axis=1).mean())  # not superposed: the protein is fixed
        deviation = np.abs(self._compute_bond_lengths(xyz) - self.bond_lengths).max()
        return f"{snapshot},{snapshot * self.interval:.3f},{rmsd:.6f},{deviation:.6f},{iterations}"

    def _compute_bond_lengths(self, xyz: np.ndarray) -> np.ndarray:
        first, second = self.ligand.bonds.T
        return np.linalg.norm(xyz[first] - xyz[second], axis=1)

    def _record_session(self, status: str, first: int, last: int, seconds: float) -> None:
        session: dict[str, Any] = {"from_snapshot": first, "to_snapshot": last, "wall_time_s": round(seconds, 3)}
        session["snapshots_per_s"] = round((last - first) / max(seconds, 1e-9), 3)
        session["versions"] = self.record["versions"]
        self.record["sessions"].append(session)
        self.record["projection"] = count_iterations(self.place.files.log)
        self.record["n_snapshots_done"] = last
        self.record["status"] = status
        write_json(self.place.files.record, self.record)


def _report(progress: Progress | None, snapshot: int, time_ps: float) -> None:
    if progress is not None:
        progress(snapshot, time_ps)


def _find_start(
    files: RunFiles, force: NeuralMDForce, integrator: NeuralMDIntegrator, n_snapshots: int, *, resume: bool
) -> Checkpoint:
    """The state to start from; no file is changed.

    Raises:
        InputError: If an earlier run is damaged, or longer than is wanted now.
    """
    complex_, model = force.complex, force.model
    xyz = complex_.positions[complex_.ligand.atom_indices]
    n_atoms = complex_.topology.getNumAtoms()
    if resume:
        check_topology(files.topology, complex_)
    if resume and files.checkpoint.exists():
        start = read_checkpoint(files.checkpoint, complex_.ligand.n_atoms)
        if start.snapshot > 0:  # its own frame and row are written again, so damage to them does not matter
            check_files(files, start, start.snapshot - 1, n_atoms=n_atoms, interval=model.snapshot_interval)
        if n_snapshots < start.snapshot:
            raise InputError(
                f"n_snapshots is {n_snapshots}, the run in {files.folder} has {start.snapshot} already: give more to "
                "go on"
            )
        if integrator.by_snapshots and start.snapshot > 0:
            _keep(files, force, integrator, start)
        return start
    if resume:
        check_nothing_is_lost(files, n_atoms)
    still = np.zeros_like(xyz)
    # a propagator maps velocities itself, when it starts
    velocities = map_velocities(model, xyz, still) if gives_force(model) else still
    return Checkpoint(0, 0, xyz, velocities, still, "")


def _keep(files: RunFiles, force: NeuralMDForce, integrator: NeuralMDIntegrator, start: Checkpoint) -> None:
    """Let the path go on with what its propagator had kept."""
    try:
        kept = unpack(start.kept, step=start.step, seed=force.seed)
        if kept.shown.shape != start.positions.shape:
            raise InputError(f"the state of the path is of {len(kept.shown)} atoms, not {len(start.positions)}")
    except InputError as error:
        raise InputError(f"{files.checkpoint}: damaged checkpoint ({error}); {START_AGAIN}") from error
    _find_path(force, integrator).keep(kept)


def _find_path(force: NeuralMDForce, integrator: NeuralMDIntegrator) -> SnapshotPath:
    return force.computation.get_path(number_scheme(integrator.scheme), integrator.inner_steps or 0)


def _create_context(
    system: mm.System, integrator: mm.Integrator, platform: mm.Platform, threads: int | None
) -> mm.Context:
    properties = {"Threads": str(threads)} if threads is not None and platform.getName() == "CPU" else {}
    try:
        return mm.Context(system, integrator, platform, properties)
    except mm.OpenMMException as error:
        raise InputError(f"OpenMM platform {platform.getName()} cannot be used here: {error}") from error


def _hash_complex(complex_: Complex) -> str:
    """SHA-256 of everything about the complex that decides the path and the frames."""
    ligand, protein = complex_.ligand, complex_.protein
    return hash_arrays(
        complex_.positions,
        *(ligand.atomic_numbers, ligand.bonds, ligand.positions, ligand.geometry, ligand.atom_indices),
        *(ligand.hydrogen_indices, ligand.hydrogen_parents, protein.residue_types, protein.backbone),
    )
