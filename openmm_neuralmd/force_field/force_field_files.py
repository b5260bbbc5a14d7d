"""OpenMM's force-field files, which can hold Python code, read so that a stranger's does not run.

OpenMM executes ``<InitializationScript>`` when it loads a file, ``<Script>`` when it makes a System, and evaluates the
attribute ``useDispersionCorrection``. Here each file is read once; what was checked is handed to OpenMM, with the files
that it includes, which are found and checked likewise. Files in OpenMM's own data folders are trusted.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from openmm.app import ForceField
from openmm.app import forcefield as openmm_forcefield

from openmm_neuralmd.errors import InputError, describe_error
from openmm_neuralmd.files import read_text
from openmm_neuralmd.force_field.xml_files import parse_tree

_EVALUATED = "useDispersionCorrection"
_TRUTHS = ("True", "False", "0", "1")


def load_openmm_force_field(files: Sequence[str | Path], *, allow_scripts: bool = False) -> ForceField:
    """A force field from files, in which no code runs that did not come with OpenMM.

    Args:
        files: Paths, perhaps gzipped, and names of OpenMM's own; a file that is here comes before OpenMM's, as in
            OpenMM itself.
        allow_scripts: Run the Python code that they hold.

    Raises:
        InputError: If a file, or one that it includes, is missing, is no force field, or holds code.
    """
    force_field = ForceField()
    contents = _read_all([_find(os.fspath(f)) for f in files], allow_scripts)
    try:
        force_field.loadFile(tuple(io.BytesIO(c) for c in contents))
    except Exception as error:  # KeyError, ValueError and whatever the code of allowed scripts raises
        names = ", ".join(Path(f).name for f in files)
        raise InputError(f"{names}: not an OpenMM force field: {describe_error(error)}") from error
    return force_field


def find_own_file(name: str) -> Path:
    """A file that came with OpenMM, never one of that name in the current folder.

    Raises:
        InputError: If there is none.
    """
    for folder in _list_own_folders():
        path = folder / name
        if _is_own(path) and path.is_file():
            return path
    raise InputError(f"{name}: no such file among OpenMM's own force fields")


def _list_own_folders() -> list[Path]:
    return [Path(folder) for folder in openmm_forcefield._getDataDirectories()]


def _is_own(path: Path) -> bool:
    """Whether a file lies in one of OpenMM's folders, links and dots followed."""
    real = Path(os.path.realpath(path))
    return any(real.is_relative_to(os.path.realpath(folder)) for folder in _list_own_folders())


def _find(name: str, folder: Path | None = None) -> Path:
    """The file that OpenMM would read: beside the one that includes it, here, or among its own."""
    if "\0" in name:
        raise InputError(f"{name!r}: no such file")
    candidates = [] if folder is None else [folder / name]
    if folder is None or not _is_own(folder):  # what OpenMM's own files include is not looked for here
        candidates.append(Path(name))
    for path in (*candidates, *(own / name for own in _list_own_folders())):
        if path.is_file():
            return path
    raise InputError(f"{name or repr(name)}: no such file, and no force field of OpenMM's own")


def _read_all(paths: list[Path], allow_scripts: bool) -> list[bytes]:
    """The files, and after them those that they include, each once, without the elements that include them."""
    contents, seen = [], {os.path.realpath(p) for p in paths}
    queue = list(paths)
    for path in queue:  # grows meanwhile
        is_own = _is_own(path)
        content = _read(path)
        if is_own and isinstance(content, bytes) and b"<Include" not in content:
            contents.append(content)
            continue
        root = parse_tree(content, str(path), expected="an OpenMM force field")
        if root.tag != "ForceField":
            raise InputError(f"{path}: begins with <{root.tag}>, not a <ForceField> of OpenMM")
        if not is_own:
            _check_code(root, path, allow_scripts)
        for element in root.findall("Include"):
            root.remove(element)
            included = _find_included(element, path)
            if os.path.realpath(included) not in seen:
                seen.add(os.path.realpath(included))
                queue.append(included)
        contents.append(ElementTree.tostring(root, encoding="utf-8"))
    return contents


def _read(path: Path) -> str | bytes:
    if path.suffix.lower() == ".gz":
        return read_text(path)
    try:
        return path.read_bytes()  # XML says its own encoding
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error


def _find_included(element: ElementTree.Element, path: Path) -> Path:
    name = element.get("file")
    if not name:
        raise InputError(f"{path}: an <Include> names no file")
    try:
        return _find(name, path.parent)
    except InputError as error:
        raise InputError(f"{path}: includes {error}") from error


def _check_code(root: ElementTree.Element, path: Path, allow_scripts: bool) -> None:
    """See that OpenMM will find nothing to run in a file.

    Raises:
        InputError: If it would, and must not.
    """
    for element in root.iter():
        tag = element.tag.rpartition(":")[2]
        if "script" in tag.lower():
            what = f"<{tag}>, Python code"
        elif _EVALUATED in element.attrib and element.attrib[_EVALUATED].strip() not in _TRUTHS:
            what = f"in <{tag}> {_EVALUATED}, where True or False is expected, Python code"
        else:
            continue
        if not allow_scripts:
            raise InputError(
                f"{path}: holds {what} that OpenMM would run; remove it, or give "
                "`allow_scripts=True` if you trust the file"
            )
