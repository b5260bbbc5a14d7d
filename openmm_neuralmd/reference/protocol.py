"""What a reference run does, the same for every engine: heating, restrained and free equilibration, production."""

from dataclasses import dataclass
from numbers import Real

from openmm_neuralmd.checks import check_flag, describe, is_count
from openmm_neuralmd.errors import InputError

HEATING_FRACTION, RESTRAINED_FRACTION = 0.2, 0.4  # of the equilibration; the rest is free
START_TEMPERATURE = 50.0  # K, where heating begins
RESTRAINT_KJ_PER_MOL_NM2 = 1000.0  # on the heavy atoms of the complex; the energy is half of it times the square
FRICTION_PER_PS = 1.0  # of the Langevin thermostat: it holds the temperature and hardly hinders diffusion


@dataclass(frozen=True)
class Phase:
    """A stretch of the run with one set of conditions, from step ``first`` to step ``last``."""

    name: str
    first: int
    last: int
    is_restrained: bool
    is_heating: bool
    has_barostat: bool

    @property
    def n_steps(self) -> int:
        return self.last - self.first


@dataclass(frozen=True)
class Protocol:
    """Settings of a run.

    Attributes:
        time_ps: Of production.
        interval_ps: Between frames.
        equilibration_ps: Before production, heating included.
        temperature_k: Of the thermostat, Langevin dynamics with ``FRICTION_PER_PS``.
        pressure_bar: Of the barostat; without effect where there is no box.
        timestep_ps: Of the integrator.
        seed: Of velocities, noise and barostat.
        is_periodic: Whether there is a box, and so a barostat.
    """

    time_ps: float
    interval_ps: float
    equilibration_ps: float
    temperature_k: float
    pressure_bar: float
    timestep_ps: float
    seed: int
    is_periodic: bool

    def __post_init__(self) -> None:
        for name in ("time_ps", "interval_ps", "equilibration_ps", "temperature_k", "pressure_bar", "timestep_ps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real):
                raise InputError(f"{name} is {describe(value)}; give a number")
        if not is_count(self.seed):
            raise InputError(f"seed is {describe(self.seed)}; give a whole number")
        check_flag("is_periodic", self.is_periodic)
        for name in ("time_ps", "interval_ps", "temperature_k", "timestep_ps"):
            if not 0.0 < getattr(self, name) < 1e12:
                raise InputError(f"`{name}` {getattr(self, name):g}: give a number above 0")
        if not 0.0 <= self.equilibration_ps < 1e12:
            raise InputError(f"`equilibration_ps` {self.equilibration_ps:g}: give 0 ps or more")
        if not -1e6 < self.pressure_bar < 1e6:
            raise InputError(f"`pressure_bar` {self.pressure_bar:g}: give a pressure in bar")
        if not 0 <= self.seed < 2**31 - 1:
            raise InputError(f"`seed` {self.seed}: give a whole number from 0 to 2147483646")
        if self.timestep_ps > 0.005:
            raise InputError(
                f"`timestep_ps`: {1000 * self.timestep_ps:g} fs, and bonds are lost above 5; give 4 fs or less"
            )
        if self.interval_ps < self.timestep_ps or _is_uneven(self.interval_ps, self.timestep_ps):
            timestep = f"{1000 * self.timestep_ps:g} fs"
            raise InputError(f"`interval_ps` {self.interval_ps:g} ps is not a whole number of timesteps of {timestep}")
        if self.time_ps < self.interval_ps or _is_uneven(self.time_ps, self.interval_ps):
            raise InputError(
                f"`time_ps` {self.time_ps:g} ps is not a whole number of intervals of {self.interval_ps:g} ps"
            )

    @property
    def steps_per_frame(self) -> int:
        return round(self.interval_ps / self.timestep_ps)

    @property
    def n_frames(self) -> int:
        return round(self.time_ps / self.interval_ps)

    @property
    def equilibration_steps(self) -> int:
        return round(self.equilibration_ps / self.timestep_ps)

    def count_frames(self, step: int) -> int:
        """Frames of production that a run of so many steps has."""
        return max(step - self.equilibration_steps, 0) // self.steps_per_frame

    def list_phases(self) -> list[Phase]:
        """The phases in their order; those without steps are left out."""
        n = self.equilibration_steps
        heated = round(HEATING_FRACTION * n)
        released = round((HEATING_FRACTION + RESTRAINED_FRACTION) * n)
        phases = [
            Phase("heating", 0, heated, True, True, False),
            Phase("restrained", heated, released, True, False, self.is_periodic),
            Phase("free", released, n, False, False, self.is_periodic),
            Phase("production", n, n + self.n_frames * self.steps_per_frame, False, False, self.is_periodic),
        ]
        return [p for p in phases if p.n_steps > 0]


def _is_uneven(whole: float, part: float) -> bool:
    return abs(whole / part - round(whole / part)) > 1e-6
