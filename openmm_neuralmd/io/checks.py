"""What is wrong with a trajectory's frames that no reader of files can see: jumps, cut molecules, uneven times."""

import numpy as np

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.io.formats import TIMED_SUFFIXES
from openmm_neuralmd.io.trajectories import TrajectoryFile
from openmm_neuralmd.molecule.bonds import BROKEN_BOND_NM

_LEAST_JUMP_NM = 2.0  # between frames close in time; half the width of a box that holds a protein is more
_DIFFUSION_NM2_PER_PS = 5e-4  # of a drug in water, 5e-10 m^2/s; half the widths of boxes are 3 nm and more
_LARGEST_RMS_NM = 1.5  # unfolding proteins and flexible tails stay below
_INTERVAL_TOLERANCE = 2e-3  # of the interval; single-precision times of long runs are no better


class JumpGuard:
    """Finds the frame in which a ligand is in another periodic image, where no box can bring it back.

    No ligand moves four times as far as free diffusion would take it, and 2 nm, between two frames.

    Args:
        source: File name, for messages.
        interval: Between frames [ps].
        start: Centroid before the first frame [nm], (3,): that of the pose.
    """

    def __init__(self, source: str, interval: float, start: np.ndarray) -> None:
        self.source, self.last, self.n_read = source, start, 0
        self.longest = max(_LEAST_JUMP_NM, 4.0 * float(np.sqrt(6.0 * _DIFFUSION_NM2_PER_PS * interval)))

    def check(self, ligand: np.ndarray) -> None:
        """Look at further frames [nm], (n_frames, n_atoms, 3), superposed on the protein.

        Raises:
            InputError: If the ligand jumps.
        """
        centroids = ligand.mean(axis=1)
        moved = np.linalg.norm(np.diff(np.concatenate([self.last[None], centroids]), axis=0), axis=1)
        if moved.max() > self.longest:
            k = int(np.argmax(moved > self.longest))
            frame = self.n_read + k
            raise InputError(
                f"{self.source}: frame {frame}: the ligand is {moved[k]:.1f} nm from "
                f"{'where it was one frame before' if frame else 'its pose'}, and the file holds no box: it is in "
                "another periodic image; write the trajectory with its box, or bring the ligand back (gmx trjconv "
                "-pbc mol)"
            )
        self.last, self.n_read = centroids[-1], self.n_read + len(ligand)


def check_uncut(
    positions: np.ndarray, bonds: np.ndarray, source: str, *, longest: float = BROKEN_BOND_NM, what: str = "a bond"
) -> None:
    """See that no molecule is cut, in frames without a box that could mend it.

    Args:
        positions: [nm], (n_frames, n_atoms, 3).
        bonds: Atom pairs, int64, (n_bonds, 2).
        source: File name, for messages.
        longest: No bond's component is longer [nm].
        what: The bonds are, for messages.

    Raises:
        InputError: If a bond is longer than any bond.
    """
    first, second = bonds.T
    vectors = positions[:, first] - positions[:, second]
    if np.abs(vectors).max(initial=0.0) > longest:
        length = float(np.linalg.norm(vectors, axis=-1).max())
        raise InputError(
            f"{source}: {what} is {length:.2f} nm long in a frame: molecules are cut by a periodic box that the file "
            "does not hold, or their atoms are ordered otherwise than in the topology; make the molecules whole first "
            "(gmx trjconv -pbc whole, or mdtraj image_molecules)"
        )


def check_chains(ca: np.ndarray, target: np.ndarray, source: str, n_before: int) -> None:
    """See that no chain is in another periodic image, in superposed frames without a box.

    Args:
        ca: CA atoms [nm], (n_frames, n_residues, 3).
        target: The site's [nm], (n_residues, 3).
        source: File name, for messages.
        n_before: Number of frames before these.

    Raises:
        InputError: If the structure is another one in a frame.
    """
    rms = np.sqrt(((ca - target) ** 2).sum(axis=-1).mean(axis=1))
    if rms.max() > _LARGEST_RMS_NM:
        k = int(np.argmax(rms > _LARGEST_RMS_NM))
        raise InputError(
            f"{source}: frame {n_before + k}: the protein's CA atoms are {rms[k]:.1f} nm from the complex's, root mean "
            "square, and the file holds no box: a chain is in another periodic image, or it is another structure; "
            "write the trajectory with its box"
        )


class Clock:
    """Checks that the times in a file fit one interval."""

    def __init__(self, file: TrajectoryFile) -> None:
        self.path, self.interval = file.path, file.interval
        self.is_timed = file.path.suffix.lower() in TIMED_SUFFIXES
        self.n_read, self.last = 0, np.zeros(0)

    def check(self, times: np.ndarray) -> None:
        """Look at the times of further frames [ps], (n_frames,).

        Raises:
            InputError: If two frames are not one interval apart.
        """
        together = np.concatenate([self.last, times])
        steps = np.diff(together)
        tolerance = _INTERVAL_TOLERANCE * self.interval + 4 * np.finfo(np.float32).eps * np.abs(together).max()
        wrong = np.flatnonzero(np.abs(steps - self.interval) > tolerance)
        if self.is_timed and len(wrong) and steps.any():  # all zero: the writer knew no times
            k = int(wrong[0])
            raise InputError(
                f"{self.path}: frames {self.n_read - len(self.last) + k} and the next are {steps[k]:g} ps apart, "
                f"{self.interval:g} ps were expected: check the interval (`interval`), or cut the file where it changes"
            )
        self.n_read += len(times)
        self.last = np.array(together[-1:], dtype=np.float64)
