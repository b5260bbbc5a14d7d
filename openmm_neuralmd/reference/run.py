"""A reference run from what was chosen: built and begun, or gone on with, through one of the engines."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from openmm_neuralmd.checks import (
    a_choice,
    an_instance,
    check_arguments,
    check_callable,
    check_flag,
    check_path,
    check_text,
    check_threads,
    optional,
    refuse_ignored,
)
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import check_writable
from openmm_neuralmd.folders import own_folder
from openmm_neuralmd.io.directory import RunPlace, check_folder
from openmm_neuralmd.molecule.chemistry import describe_choice
from openmm_neuralmd.reference.directory import (
    PhaseProgress,
    Place,
    ReferenceFiles,
    read_protocol,
    read_record,
    start_record,
    write_start,
)
from openmm_neuralmd.reference.energies import EnergyComparison, compare_energies
from openmm_neuralmd.reference.gromacs_engine import find_gromacs, run_gromacs
from openmm_neuralmd.reference.gromacs_files import choose_vacuum_cutoff
from openmm_neuralmd.reference.implicit import check_solvent_options
from openmm_neuralmd.reference.openmm_engine import run_openmm
from openmm_neuralmd.reference.protocol import Protocol
from openmm_neuralmd.reference.system import PADDING_NM, MolecularSystem, build_system, load_system
from openmm_neuralmd.simulation.run import find_platform

ENGINES = ("openmm", "gromacs")
DEFAULTS: dict[str, Any] = {
    "time_ps": 1000.0,
    "interval_ps": 10.0,
    "equilibration_ps": 500.0,
    "temperature_k": 300.0,
    "pressure_bar": 1.0,
    "seed": 0,
}
"""Of a new run's ``ReferenceSettings``."""


@dataclass(frozen=True)
class SystemChoice:
    """What is run: a complex that gets solvent and parameters, or a System that is ready.

    Attributes:
        complex_file: Folder of ``neuralmd prepare`` or structure; the bundled 4G3E if None and there is no ``system``.
        ligand: NAME, NAME:CHAIN or NAME:CHAIN:NUMBER.
        sdf: The ligand's bonds, where the structure has none.
        ligand_parameters: OpenMM force field file with the ligand.
        allow_scripts: Run the Python code that it holds.
        solvent: One of ``system.SOLVENTS``; "tip3p" if None.
        padding: Of the box [nm]; ``system.PADDING_NM`` if None.
        system, top: A serialized System and its structure, in place of all these but ``ligand``.
    """

    complex_file: str | Path | None = None
    ligand: str | None = None
    sdf: str | Path | None = None
    ligand_parameters: str | Path | None = None
    allow_scripts: bool = False
    solvent: str | None = None
    padding: float | None = None
    system: str | Path | None = None
    top: str | Path | None = None

    def __post_init__(self) -> None:
        if self.allow_scripts and not self.ligand_parameters:
            raise InputError(
                "`allow_scripts` is for the file of `ligand_parameters`; give that, or leave `allow_scripts` out"
            )

    def list_given(self) -> list[str]:
        """The arguments that were given, as messages name them."""
        return [f"`{f.name}`" for f in fields(self) if getattr(self, f.name) not in (None, False)]

    def build(self, *, seed: int = 0) -> MolecularSystem:
        """The system, ready to run; ``seed`` is of the places of ions.

        Raises:
            InputError: If the choice contradicts itself, or as ``build_system`` and ``load_system``.
        """
        if (self.system is None) != (self.top is None):
            raise InputError("`system` and `top` belong together: give both, or neither")
        if self.system is not None and self.top is not None:
            made = (self.complex_file, self.sdf, self.ligand_parameters, self.solvent)
            if any(made) or self.padding is not None:
                raise InputError(
                    "`system` is complete: leave out `complex_file`, `sdf`, `ligand_parameters`, `solvent` and "
                    "`padding`"
                )
            return load_system(self.system, self.top, ligand=self.ligand)
        return build_system(
            self.complex_file,
            ligand=self.ligand,
            sdf=self.sdf,
            ligand_parameters=self.ligand_parameters,
            allow_scripts=self.allow_scripts,
            solvent=self.solvent or "tip3p",
            padding=PADDING_NM if self.padding is None else self.padding,
            seed=seed,
        )


@dataclass(frozen=True)
class ReferenceSettings:
    """How it is run; None for ``DEFAULTS`` in a new run, for the run's own in one that goes on.

    Attributes:
        time_ps: Of production, of the whole run.
        interval_ps: Between frames.
        equilibration_ps: Heating and equilibration before production.
        temperature_k, pressure_bar: Of thermostat and barostat.
        seed: Of velocities, noise and ions.
        timestep_ps: 4 fs where hydrogens are heavy, else 2, if None.
    """

    time_ps: float | None = None
    interval_ps: float | None = None
    equilibration_ps: float | None = None
    temperature_k: float | None = None
    pressure_bar: float | None = None
    seed: int | None = None
    timestep_ps: float | None = None


@dataclass(frozen=True)
class ReferenceRun:
    """A run that has ended: where its files are, and what ``run.json`` says."""

    files: ReferenceFiles
    record: dict[str, Any]


@check_arguments(
    choice=an_instance(SystemChoice, of="a SystemChoice(...)"),
    settings=an_instance(ReferenceSettings, of="ReferenceSettings(...)"),
    out=check_path,
    engine=a_choice(ENGINES),
    platform=optional(check_text),
    threads=lambda name, threads: check_threads(threads, name),
    resume=check_flag,
    overwrite=check_flag,
    report=optional(check_callable),
    progress=optional(check_callable),
)
def run_reference(
    choice: SystemChoice,
    settings: ReferenceSettings,
    out: str | Path,
    *,
    engine: str = "openmm",
    platform: str | None = None,
    threads: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[str], None] | None = None,
    progress: PhaseProgress | None = None,
) -> ReferenceRun:
    """Build and run a system, or go on with the run in a directory.

    Args:
        choice: What is run; nothing, when a run goes on.
        settings: How.
        out: Run directory, created if absent.
        engine: One of ``ENGINES``.
        platform: OpenMM's name for it; "CPU" if None.
        threads: Of the CPU; the engine's own choice if None.
        resume: Go on with the run in ``out``, perhaps to another ``time_ps``.
        overwrite: Replace a run in ``out``.
        report: Called with what a reader should know of the files, before a new run begins.
        progress: Called while it runs.

    Raises:
        InputError: If an argument contradicts another or the run there, or a file cannot be used.
    """
    if engine == "gromacs":
        refuse_ignored({"platform": platform}, "with `engine=gromacs`, which has no OpenMM platform")
    if choice.solvent and not resume:
        check_solvent_options(choice.solvent, engine=engine, padding=choice.padding, pressure=settings.pressure_bar)
    files = ReferenceFiles(Path(out), engine=engine)
    check_writable(files.folder)
    with own_folder(files.folder):
        check_folder(files, resume=resume, overwrite=overwrite)
        record = read_record(files) if resume else None  # first: an engine of no use here need not be installed
        if engine == "gromacs":
            find_gromacs()
        else:
            find_platform(platform or "CPU")
        molecules, record, place = (
            _begin(choice, settings, files, report) if record is None else _resume(choice, settings, files, record)
        )
        try:
            protocol = read_protocol(record)
            if engine == "openmm":
                platform = platform or "CPU"
                run_openmm(molecules, protocol, place, record, platform=platform, threads=threads, progress=progress)
            else:
                run_gromacs(molecules, protocol, place, record, threads=threads, progress=progress)
        finally:
            place.leave()
    return ReferenceRun(files, record)


def require_gromacs(choice: SystemChoice, settings: ReferenceSettings) -> None:
    """InputError if GROMACS lacks the solvent, or is not installed: in this order, the first helps everywhere."""
    if choice.solvent:
        check_solvent_options(choice.solvent, engine="gromacs", padding=choice.padding, pressure=settings.pressure_bar)
    find_gromacs()


@check_arguments(
    choice=an_instance(SystemChoice, of="a SystemChoice(...)"),
    out=check_path,
    settings=an_instance(ReferenceSettings, of="ReferenceSettings(...)"),
    threads=lambda name, threads: check_threads(threads, name),
)
def check_energies(
    choice: SystemChoice,
    out: str | Path,
    *,
    settings: ReferenceSettings = ReferenceSettings(),
    threads: int | None = None,
) -> EnergyComparison:
    """Energies of one structure from both engines, term by term, also written to ``out``; nothing is run.

    Args:
        choice: The system.
        out: Folder, created if absent.
        settings: Of which only ``seed``, of the places of ions, matters.
        threads: Of OpenMM; its own choice if None.

    Raises:
        InputError: If GROMACS is not installed, or the system cannot be built or passed on to it.
    """
    require_gromacs(choice, settings)
    files = ReferenceFiles(Path(out))
    comparison = compare_energies(choice.build(seed=settings.seed or 0), threads=threads)
    files.folder.mkdir(parents=True, exist_ok=True)
    comparison.write(files.energies)
    return comparison


def _begin(
    choice: SystemChoice,
    settings: ReferenceSettings,
    files: ReferenceFiles,
    report: Callable[[str], None] | None,
) -> tuple[MolecularSystem, dict[str, Any], Place]:
    """A new run: everything is checked and built before anything is written."""
    molecules = choice.build(seed=settings.seed or 0)
    if not molecules.is_periodic:
        refuse_ignored({"pressure_bar": settings.pressure_bar}, "where the system has no box")
    if report is not None and choice.sdf is not None and (chosen := describe_choice(choice.sdf)):
        report(chosen)
    given = {name: getattr(settings, name) for name in DEFAULTS}
    protocol = Protocol(
        **{name: DEFAULTS[name] if value is None else value for name, value in given.items()},
        timestep_ps=molecules.choose_timestep() if settings.timestep_ps is None else settings.timestep_ps,
        is_periodic=molecules.is_periodic,
    )
    if files.engine == "gromacs" and not molecules.is_periodic:
        choose_vacuum_cutoff(molecules.positions)
    place = RunPlace(files, replaces=bool(files.list_existing()))
    try:
        write_start(place.files, molecules)
        return molecules, start_record(place.files, molecules, protocol), place
    except BaseException:
        place.leave()
        raise


def _resume(
    choice: SystemChoice, settings: ReferenceSettings, files: ReferenceFiles, record: dict[str, Any]
) -> tuple[MolecularSystem, dict[str, Any], Place]:
    """An earlier run; all its settings but the length stay."""
    if given := choice.list_given():
        raise InputError(
            f"`resume=True` goes on with the system in {files.folder}: leave out the complex and what it is made with "
            f"({', '.join(given)})"
        )
    earlier = read_protocol(record)
    for f in fields(settings):
        value = getattr(settings, f.name)
        if value is not None and f.name != "time_ps" and value != getattr(earlier, f.name):
            raise InputError(
                f"{files.folder}: the run was made with {f.name} {getattr(earlier, f.name):g}, now it is {value:g}; "
                "resume with the same settings or start again (`overwrite=True`)"
            )
    if settings.time_ps is not None:
        done = record.get("n_snapshots_done", 0) * earlier.interval_ps
        if settings.time_ps < done:
            raise InputError(f"`time_ps` {settings.time_ps:g}: the run in {files.folder} is {done:g} ps long already")
        record["settings"]["time_ps"] = replace(earlier, time_ps=settings.time_ps).time_ps
    record["status"] = "running"
    molecules = load_system(files.system, files.start, ligand=record["ligand"])
    given_system = replace(molecules, source=record["complex"], force_field=record["force_field"])
    return given_system, record, RunPlace(files, replaces=False)
