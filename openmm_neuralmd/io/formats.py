"""Formats of trajectories and topologies: which are read, by name, and what a file's first bytes say it is.

The lists are closed. mdtraj chooses a reader by a file's name, and some of its readers unpickle what they find.
"""

import struct
from pathlib import Path

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.files import find_format

HDF5_SUFFIXES = (".h5", ".hdf5")
NETCDF_SUFFIXES = (".nc", ".netcdf", ".ncdf")
TIMED_SUFFIXES = (".xtc", ".trr", *NETCDF_SUFFIXES, *HDF5_SUFFIXES)
"""Of trajectories that carry times."""
PDB_SUFFIXES = (".pdb", ".pdb.gz")
CIF_SUFFIXES = (".cif", ".mmcif", ".pdbx", ".cif.gz", ".mmcif.gz", ".pdbx.gz")
PRMTOP_SUFFIXES = (".prmtop", ".parm7", ".prm7")
_FORMATS = {
    ".dcd": "DCD",
    ".xtc": "XTC",
    ".trr": "TRR",
    **dict.fromkeys(NETCDF_SUFFIXES, "NetCDF"),
    **dict.fromkeys(HDF5_SUFFIXES, "HDF5"),
    **dict.fromkeys(PDB_SUFFIXES, "PDB"),
    **dict.fromkeys(CIF_SUFFIXES, "mmCIF"),
    **dict.fromkeys(PRMTOP_SUFFIXES, "prmtop"),
    ".gro": "GRO",
    ".psf": "PSF",
    ".tpr": "TPR",
    ".xyz": "XYZ",
    ".lammpstrj": "LAMMPS",
}
TRAJECTORY_SUFFIXES = (".dcd", *TIMED_SUFFIXES, ".xyz", ".lammpstrj")
TOPOLOGY_SUFFIXES = (*PDB_SUFFIXES, *CIF_SUFFIXES, ".gro", *PRMTOP_SUFFIXES, ".psf", *HDF5_SUFFIXES, ".tpr")
TRAJECTORIES = "DCD, XTC, TRR, NetCDF or HDF5"
TOPOLOGIES = "PDB, PDBx/mmCIF, GRO, prmtop, PSF, HDF5 or TPR"
_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
}
_PDB_RECORDS = (b"ATOM  ", b"HETATM", b"CRYST1", b"HEADER", b"REMARK", b"MODEL ")
_MARKED = ("DCD", "XTC", "TRR", "NetCDF", "TPR")
"""Formats whose files always begin with their mark."""
_XTC_NUMBERS, _TRR_NUMBER = (1995, 2023), 1993  # first integers of GROMACS's files; 2023 has 64-bit sizes
_MOST_UNPACKED = 9  # atoms whose positions XTC does not pack
_LONGEST_HEADER = 256  # bytes; more than the header of a frame of any of these formats has
_TRR_HEADER = struct.Struct(">3i12s13i")


def find_suffix(path: str | Path) -> str:
    """What follows the last dot of a name, in small letters; with the part before it where it is .gz."""
    path = Path(path)
    return find_format(path) + (".gz" if path.suffix.lower() == ".gz" else "")


def is_hdf5(path: str | Path) -> bool:
    """Whether a file's name says that it is HDF5, which holds its own topology."""
    return find_suffix(path) in HDF5_SUFFIXES


def check_format(path: Path, suffixes: tuple[str, ...], kind: str, expected: str) -> str:
    """The suffix of a file that is there, once it is one of those and the file holds nothing else.

    Args:
        path: The file.
        suffixes: Allowed, in small letters.
        kind: What it should be, for messages: "trajectory" or "topology".
        expected: Formats that will do, for messages.

    Raises:
        InputError: If it is a folder, a pipe, empty, of another format, or of another format than its name says.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a {kind} file: {expected}")
    if not path.is_file():
        what = "is no regular file" if path.exists() else "no such file"  # opening a named pipe would wait for ever
        raise InputError(f"{path}: {what}; give a {kind} file: {expected}")
    suffix = find_suffix(path)
    if suffix not in suffixes:
        remedy = " (mdconvert makes them)" if kind == "trajectory" else ""
        what = f"{_FORMATS[suffix]} is" if suffix in _FORMATS else f"{suffix or 'a name without suffix'} is"
        raise InputError(f"{path}: {what} not a {kind} format; give {expected}{remedy}")
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if not head:
        raise InputError(f"{path}: empty or cut short; give a whole {kind} file")
    found, named = _recognise(head), _FORMATS[suffix]
    packed = next((name for start, name in _PACKED.items() if head.startswith(start)), None)
    if suffix.endswith(".gz"):
        if packed != "gzip":
            raise InputError(f"{path}: is not packed with gzip, as its name says; give it its right name")
    elif packed is not None:
        raise InputError(f"{path}: is packed with {packed}; unpack it first")
    elif found == "HDF5" and named == "NetCDF":
        raise InputError(f"{path}: is NetCDF 4; Amber's NetCDF 3 is read: nccopy -k nc6 {path.name} new{path.suffix}")
    elif found is not None and found != named:
        raise InputError(f"{path}: holds {found}, not {named} as its name says; give it its right name")
    elif found is None and named in _MARKED:
        raise InputError(f"{path}: does not begin as a {named} file does; give a whole {kind}: {expected}")
    return suffix


def read_n_atoms(path: Path, suffix: str) -> int | None:
    """Number of atoms that the header of a DCD, XTC or TRR file tells; None of others and of cut ones.

    Readers make room for as many before they find that the frames are not there.
    """
    if suffix == ".dcd":
        layout = read_dcd_layout(path)
        return None if layout is None else layout[1]
    with path.open("rb") as file:
        head = file.read(68)
    place = {".xtc": 4, ".trr": 64}.get(suffix, len(head))
    return struct.unpack_from(">i", head, place)[0] if len(head) >= place + 4 else None


def read_dcd_layout(path: Path) -> tuple[int, int] | None:
    """Where the frames of a DCD file begin, and how many atoms it has; None where its header is cut or of 64 bits."""
    with path.open("rb") as file:
        head = file.read(96)
        if len(head) < 96 or head[4:8] != b"CORD":
            return None
        order = find_dcd_order(head)
        start = 92 + struct.unpack_from(f"{order}i", head, 92)[0] + 20
        file.seek(max(start - 8, 0))
        number = file.read(4)
    return (start, struct.unpack(f"{order}i", number)[0]) if len(number) == 4 else None


def count_frames(path: Path, suffix: str, n_atoms: int) -> tuple[int, bool]:
    """Frames of an XTC or TRR file up to the first whose header contradicts itself or whose data are cut.

    mdtraj believes what headers say: a wrong length makes it write beyond its own memory.

    Returns:
        Their number, and whether nothing else is in the file.
    """
    measure = _measure_xtc_frame if suffix == ".xtc" else _measure_trr_frame
    size, place, n_frames = path.stat().st_size, 0, 0
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            length = measure(file.read(_LONGEST_HEADER), n_atoms)
            if length is None or place + length > size:
                break
            place, n_frames = place + length, n_frames + 1
    return n_frames, place == size


def _measure_xtc_frame(head: bytes, n_atoms: int) -> int | None:
    """Bytes of a frame: magic number, atoms, step, time, box, atoms; then numbers, or how they are packed."""
    if len(head) < 56 + 12 * min(n_atoms, _MOST_UNPACKED):
        return None
    number, first, second = (struct.unpack_from(">i", head, k)[0] for k in (0, 4, 52))
    if number not in _XTC_NUMBERS or first != n_atoms or second != n_atoms:
        return None
    if n_atoms <= _MOST_UNPACKED:
        return 56 + 12 * n_atoms
    is_long = number != _XTC_NUMBERS[0]
    precision, *bounds, index, n_bytes = struct.unpack_from(">f6iiq" if is_long else ">f6iii", head, 56)
    is_right = (
        precision > 0.0
        and all(low <= high for low, high in zip(bounds[:3], bounds[3:], strict=True))
        and 9 <= index < 73  # numbers in the table of sizes that packing uses
        and 0 <= n_bytes <= 16 * n_atoms + 64
    )
    return (96 if is_long else 92) + (n_bytes + 3) // 4 * 4 if is_right else None


def _measure_trr_frame(head: bytes, n_atoms: int) -> int | None:
    """Bytes of a frame: magic number, a text with its lengths, bytes in each of ten blocks, atoms, step, time, blocks.

    Box, two other tensors, positions, velocities and forces are the blocks in use.
    """
    if len(head) < _TRR_HEADER.size:
        return None
    header = _TRR_HEADER.unpack_from(head)
    mark, blocks, found = header[:4], header[4:14], header[14]
    width = next((w for w in (4, 8) if n_atoms and blocks[7] == 3 * w * n_atoms), 0)
    is_right = (
        width > 0
        and (*mark, found) == (_TRR_NUMBER, 13, 12, b"GMX_trn_file", n_atoms)
        and all(block in (0, 3 * width * n_atoms) for block in blocks[8:])
        and all(block in (0, 9 * width) for block in blocks[2:5])
        and not any(blocks[:2] + blocks[5:7])
    )
    return _TRR_HEADER.size + 2 * width + sum(blocks) if is_right else None


def find_dcd_order(head: bytes) -> str:
    """The order of bytes in a DCD file, as ``struct`` writes it, from the length of its first record: 84."""
    return ">" if head[:4] == b"\0\0\0\x54" else "<"


def _recognise(head: bytes) -> str | None:
    """The format that a file's first bytes are of; None of those that have no mark."""
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "HDF5"
    if head.startswith(b"CDF") and head[3:4] in b"\x01\x02\x05":
        return "NetCDF"
    if b"CORD" in (head[4:8], head[8:12]):
        return "DCD"
    if head[8:15] == b"VERSION" or head[4:11] == b"VERSION":
        return "TPR"
    if len(head) >= 8:
        number = struct.unpack(">i", head[:4])[0]
        if number in _XTC_NUMBERS:
            return "XTC"
        if number == _TRR_NUMBER:
            return "TRR"
    if head.startswith(b"%VERSION"):
        return "prmtop"
    if head.startswith(b"data_"):
        return "mmCIF"
    if head.startswith(b"PSF"):
        return "PSF"
    return "PDB" if head.startswith(_PDB_RECORDS) else None
