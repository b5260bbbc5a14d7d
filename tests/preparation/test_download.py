"""Downloads through a real server: what comes whole is kept, what does not is refused and leaves no file."""

import gzip
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import gemmi
import pytest

from openmm_neuralmd.cli import main
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.preparation import download
from openmm_neuralmd.preparation.download import download_component, download_entry
from openmm_neuralmd.preparation.structure import read_structure
from tests.helpers import SHARED
from tests.preparation.test_prepare import write_component

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def send(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None, length: int | None = None) -> Answer:
    """An answer; ``length`` is what the header promises."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body) if length is None else length), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


class Server:
    """Answers by path, and counts what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.answers.get(self.path, send(b"gone", status=404))(self)

            def log_message(self, *_: object) -> None:
                pass

        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()
    monkeypatch.setenv("NEURALMD_PDB_URL", made.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    thread = threading.Thread(target=made.httpd.serve_forever, daemon=True)
    thread.start()
    yield made
    made.httpd.shutdown()
    made.httpd.server_close()
    thread.join()


@pytest.fixture
def entry(write_entry: Callable[..., Path]) -> tuple[bytes, list[str]]:
    """The miniature entry as mmCIF, and the names of its ligand's atoms."""
    path = write_entry()
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    names = [x[12:16].strip() for x in path.read_text().splitlines() if x[17:20] == "0WC"]
    return structure.make_mmcif_document().as_string().encode(), names


def list_cache(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file())


def test_prepare_by_identifier(server, entry, tmp_path, capsys):
    """`neuralmd prepare --pdb-id`, with bond orders from the dictionary; the second time nothing is asked."""
    text, names = entry
    server.answers["/download/4G3E.cif"] = send(text)
    server.answers["/ligands/download/0WC.cif"] = send(write_component(names, "/0WC.cif").encode())
    for out in ("first", "second"):
        words = ["prepare", "--pdb-id", "4g3e", "--ligand", "0WC", "--out", str(tmp_path / out)]
        assert main(words) == 0, capsys.readouterr().err
    assert server.asked == ["/download/4G3E.cif", "/ligands/download/0WC.cif"]
    assert list_cache(tmp_path) == ["4g3e.cif", "component_0WC.cif"]
    protocol = json.loads((tmp_path / "first/prepare.json").read_text())
    assert protocol["source"]["file"] == "4g3e.cif"
    assert protocol["ligand"]["bond_orders_from"] == "Chemical Component Dictionary 0WC"
    assert (tmp_path / "first/complex.pdb").read_bytes() == (tmp_path / "second/complex.pdb").read_bytes()


def test_a_deposited_entry(server, tmp_path):
    source = SHARED / "data/complexes/4g3f/4g3f.pdb"
    if not source.is_file():
        pytest.skip(f"{source} is absent")
    structure = gemmi.read_structure(str(source))
    structure.setup_entities()
    server.answers["/download/4G3F.cif"] = send(structure.make_mmcif_document().as_string().encode())
    found, expected = read_structure(download_entry("4G3F")), read_structure(source)
    assert [len(p.residues) for p in found.polymers] == [len(p.residues) for p in expected.polymers]
    assert sorted(map(str, found.others)) == sorted(map(str, expected.others))


@pytest.mark.parametrize("headers", [{"Content-Encoding": "gzip"}, {"Content-Type": "application/gzip"}])
def test_compressed(server, entry, headers, tmp_path):
    server.answers["/download/4G3E.cif"] = send(gzip.compress(entry[0]), headers=headers)
    assert download_entry("4g3e").read_bytes() == entry[0]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda _: send(b"", status=404), "404 Not Found; check the identifier"),
        (lambda _: send(b"", status=503), "503 Service Unavailable"),
        (lambda text: send(text[: len(text) // 2], length=len(text)), "cut short"),
        (lambda text: send(text[: len(text) // 2]), "no whole mmCIF file"),
        (lambda _: send(b""), "no whole mmCIF file"),
        (lambda _: send(b"<!DOCTYPE html><html>Log in to the hotel</html>"), "a web page"),
        (lambda _: send(b"data_4G3E\n_entry.id 4G3E\n"), "no whole mmCIF file"),
        (lambda text: send(gzip.compress(text)[:-20]), "cut short"),
        (lambda _: send(b"\xff\xfe\x00data"), "no whole mmCIF file"),
    ],
    ids=["404", "503", "truncated", "truncated, length unknown", "empty", "HTML", "no atoms", "half gzip", "binary"],
)
def test_what_does_not_come_whole_is_refused(server, entry, make, expected, tmp_path, capsys):
    server.answers["/download/4G3E.cif"] = make(entry[0])
    words = ["prepare", "--pdb-id", "4g3e", "--ligand", "0WC", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert expected in error
    assert f"{server.url}/download/4G3E.cif" in error
    assert list_cache(tmp_path) == []
    assert not (tmp_path / "out").exists()
    server.answers["/download/4G3E.cif"] = send(entry[0])
    assert download_entry("4g3e").is_file()  # and nothing of it stands in the way


def test_an_absent_component(server):
    with pytest.raises(InputError, match=r"ligands/download/XYZ.cif: the server answers 404"):
        download_component("XYZ")


def test_no_server(server, tmp_path, capsys):
    server.httpd.server_close()
    assert main(["prepare", "--pdb-id", "4g3e", "--ligand", "0WC", "--out", str(tmp_path / "out")]) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_interrupted(server, entry, tmp_path, monkeypatch, capsys):
    """Ctrl-C while the file is written."""
    server.answers["/download/4G3E.cif"] = send(entry[0])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(download.os, "replace", interrupt)
    assert main(["prepare", "--pdb-id", "4g3e", "--ligand", "0WC", "--out", str(tmp_path / "out")]) == 130
    assert list_cache(tmp_path) == []


def test_cache_that_cannot_be_made(server, entry, tmp_path, capsys):
    """A file stands where its folder should be."""
    server.answers["/download/4G3E.cif"] = send(entry[0])
    (tmp_path / "cache").write_text("mine")
    assert main(["prepare", "--pdb-id", "4g3e", "--ligand", "0WC", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "downloads cannot be kept there" in error
    assert "XDG_CACHE_HOME" in error
    assert error.count("\n") == 1
    assert (tmp_path / "cache").read_text() == "mine"
