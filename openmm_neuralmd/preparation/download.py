"""Entries of the PDB and of its Chemical Component Dictionary, downloaded once and kept."""

import gzip
import os
import re
import zlib
from collections.abc import Callable
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import gemmi

from openmm_neuralmd.errors import InputError, StorageError
from openmm_neuralmd.files import write_atomically

SERVER = "https://files.rcsb.org"
SERVER_VARIABLE = "NEURALMD_PDB_URL"
"""Environment variable that names another server with RCSB's paths, such as a mirror inside a firewall."""
_ENTRY_PATH, _COMPONENT_PATH = "/download/{}.cif", "/ligands/download/{}.cif"
_ENTRY_ID = re.compile(r"[0-9][A-Za-z0-9]{3}|pdb_[0-9]{4}[0-9][A-Za-z0-9]{3}")
_TIMEOUT_S = 20  # without an answer
_GZIP = b"\x1f\x8b"

Fetch = Callable[[str], str]


def fetch_text(url: str) -> str:
    """The text behind a URL, decompressed if need be.

    Raises:
        InputError: If the server has no such file, cannot be reached, or stops in the middle.
    """
    try:
        with urlopen(url, timeout=_TIMEOUT_S) as response:
            content: bytes = response.read()
        return (gzip.decompress(content) if content.startswith(_GZIP) else content).decode(errors="replace")
    except HTTPError as error:
        raise InputError(f"{url}: the server answers {error.code} {error.reason}; check the identifier") from error
    except (IncompleteRead, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{url}: the download was cut short; try again, or download it elsewhere") from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{url}: cannot be reached ({reason}); download it elsewhere and give the file") from error


def get_cache_folder() -> Path:
    """Where downloads are kept: ``$XDG_CACHE_HOME`` or ``~/.cache``, in ``openmm_neuralmd``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openmm_neuralmd"


def download_entry(pdb_id: str, *, cache: Path | None = None, fetch: Fetch = fetch_text) -> Path:
    """The mmCIF file of a PDB entry, from the cache or downloaded.

    Raises:
        InputError: If the identifier is none, the entry does not exist or the server cannot be reached.
    """
    if not _ENTRY_ID.fullmatch(pdb_id):
        raise InputError(f"{pdb_id!r} is no PDB identifier; give four characters such as 4G3E")
    return _download(_ENTRY_PATH.format(pdb_id.upper()), f"{pdb_id.lower()}.cif", "_atom_site.id", cache, fetch)


def download_component(name: str, *, cache: Path | None = None, fetch: Fetch = fetch_text) -> Path:
    """The Chemical Component Dictionary's file of a residue name, from the cache or downloaded.

    Raises:
        InputError: If there is no such component or the server cannot be reached.
    """
    if not re.fullmatch(r"[A-Za-z0-9]{1,5}", name):
        raise InputError(f"{name!r} is no name of the Chemical Component Dictionary (1 to 5 letters and digits)")
    target = f"component_{name.upper()}.cif"
    return _download(_COMPONENT_PATH.format(name.upper()), target, "_chem_comp_atom.atom_id", cache, fetch)


def _download(path: str, name: str, tag: str, cache: Path | None, fetch: Fetch) -> Path:
    """The file from the cache, or downloaded, checked for ``tag`` and then put there in one step."""
    target = (cache or get_cache_folder()) / name
    if not target.is_file():
        url = (os.environ.get(SERVER_VARIABLE) or SERVER).rstrip("/") + path
        text = fetch(url)
        _check_whole(text, tag, url)
        try:
            _keep(text, target)
        except StorageError:
            raise
        except OSError as error:
            raise InputError(
                f"{target.parent}: downloads cannot be kept there ({error.strerror}); name a folder that can be "
                "written to in XDG_CACHE_HOME"
            ) from error
    return target


def _keep(text: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, text)


def _check_whole(text: str, tag: str, url: str) -> None:
    remedy = "try again, or download it elsewhere and give the file"
    if text.lstrip()[:200].lower().startswith(("<!doctype", "<html", "<?xml")):
        raise InputError(f"{url}: the answer is a web page, not the file; {remedy}")
    try:
        n_rows = len(gemmi.cif.read_string(text).sole_block().find_values(tag))
    except (RuntimeError, ValueError, IndexError):  # gemmi's, of text that is no CIF or ends too early
        n_rows = 0
    if n_rows == 0:
        raise InputError(f"{url}: the answer is no whole mmCIF file; {remedy}")
