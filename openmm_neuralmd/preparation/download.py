"""Entries of the PDB and of its Chemical Component Dictionary, downloaded once and kept."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from openmm_neuralmd.errors import InputError

ENTRY_URL = "https://files.rcsb.org/download/{}.cif"
COMPONENT_URL = "https://files.rcsb.org/ligands/download/{}.cif"
_ENTRY_ID = re.compile(r"[0-9][A-Za-z0-9]{3}|pdb_[0-9]{4}[0-9][A-Za-z0-9]{3}")
_TIMEOUT_S = 20

Fetch = Callable[[str], str]


def fetch_text(url: str) -> str:
    """The text behind a URL.

    Raises:
        InputError: If the server has no such file or cannot be reached.
    """
    try:
        with urlopen(url, timeout=_TIMEOUT_S) as response:
            return response.read().decode()
    except HTTPError as error:
        raise InputError(f"{url}: the server answers {error.code} {error.reason}; check the identifier") from error
    except (URLError, OSError) as error:
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
    return _download(ENTRY_URL.format(pdb_id.upper()), f"{pdb_id.lower()}.cif", cache, fetch)


def download_component(name: str, *, cache: Path | None = None, fetch: Fetch = fetch_text) -> Path:
    """The Chemical Component Dictionary's file of a residue name, from the cache or downloaded.

    Raises:
        InputError: If there is no such component or the server cannot be reached.
    """
    if not re.fullmatch(r"[A-Za-z0-9]{1,5}", name):
        raise InputError(f"{name!r} is no name of the Chemical Component Dictionary (1 to 5 letters and digits)")
    return _download(COMPONENT_URL.format(name.upper()), f"component_{name.upper()}.cif", cache, fetch)


def _download(url: str, name: str, cache: Path | None, fetch: Fetch) -> Path:
    target = (cache or get_cache_folder()) / name
    if not target.is_file():
        text = fetch(url)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{name}.{os.getpid()}")
        temporary.write_text(text)
        os.replace(temporary, target)
    return target
