"""Force-field files: Python code in them runs only where the user says so, and only OpenMM's own is trusted."""

import gzip
from pathlib import Path

import pytest
from openmm import app

from openmm_neuralmd.analysis.bundled import get_bundled_path
from openmm_neuralmd.cli import main
from openmm_neuralmd.errors import InputError
from openmm_neuralmd.force_field.energies import load_force_field_model
from openmm_neuralmd.force_field.force_field_files import find_own_file, load_openmm_force_field

ATOM_TYPES = '<AtomTypes><Type name="a" class="a" element="C" mass="12"/></AtomTypes>'
NONBONDED = (
    '<NonbondedForce coulomb14scale="1" lj14scale="1" useDispersionCorrection="{}">'
    '<Atom type="a" charge="0" sigma="0.1" epsilon="0"/></NonbondedForce>'
)
LENNARD_JONES = (
    '<LennardJonesForce lj14scale="1" useDispersionCorrection="{}"><Atom type="a" sigma="0.1" epsilon="0"/>'
    "</LennardJonesForce>"
)


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Appears when the code of a file has run; tests work in its folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "ran"


def make_code(ran: Path) -> dict[str, str]:
    """Each way in which OpenMM runs what a force-field file says."""
    call = f"open('{ran}', 'w').close()"
    return {
        "Script": f"<Script>{call}</Script>",
        "InitializationScript": f"<InitializationScript>{call}</InitializationScript>",
        "NonbondedForce useDispersionCorrection": NONBONDED.format(f"{call} or 1"),
        "LennardJonesForce useDispersionCorrection": LENNARD_JONES.format(f"{call} or 1"),
    }


WAYS = list(make_code(Path()))


def write(path: Path, *content: str, declaration: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{declaration}<ForceField>{''.join(content)}</ForceField>")
    return path


def make_system(force_field: app.ForceField) -> None:
    """Scripts run when a System is made."""
    force_field.createSystem(app.Topology())


@pytest.mark.parametrize("way", WAYS)
def test_files_that_hold_code_are_refused(ran: Path, way: str) -> None:
    path = write(ran.with_name("evil.xml"), ATOM_TYPES, make_code(ran)[way])
    with pytest.raises(InputError, match=r"evil\.xml: .*" + ".*".join(way.split()) + ".*`allow_scripts=True`"):
        load_openmm_force_field([path])
    assert not ran.exists()
    make_system(load_openmm_force_field([path], allow_scripts=True))
    assert ran.exists()


@pytest.mark.parametrize("way", WAYS[:2])
def test_code_in_an_included_file_is_refused(ran: Path, way: str) -> None:
    write(ran.parent / "parts" / "c" / "evil.xml", make_code(ran)[way])
    write(ran.parent / "parts" / "b.xml", ATOM_TYPES, '<Include file="c/evil.xml"/>')
    path = write(ran.parent / "a.xml", '<Include file="parts/b.xml"/>')
    with pytest.raises(InputError, match=rf"parts/c/evil\.xml: .*{way}"):
        load_openmm_force_field([path])
    assert not ran.exists()
    make_system(load_openmm_force_field([path], allow_scripts=True))
    assert ran.exists()


def test_prefixes_references_and_encodings_hide_nothing(ran: Path) -> None:
    code = f"open('{ran}', 'w').close()"
    texts = {
        "cdata.xml": f"<ForceField><Script><![CDATA[{code}]]></Script></ForceField>".encode(),
        "utf16.xml": f"<ForceField><Script>{code}</Script></ForceField>".encode("utf-16"),
        "namespace.xml": f'<ForceField><p:Script xmlns:p="x">{code}</p:Script></ForceField>'.encode(),
        "latin.xml": f'<?xml version="1.0" encoding="latin-1"?><ForceField><Script>{code}#\u00fc</Script></ForceField>'
        .encode("latin-1"),
        "packed.xml.gz": gzip.compress(f"<ForceField><Script>{code}</Script></ForceField>".encode()),
        "no_suffix": f"<ForceField><Script>{code}</Script></ForceField>".encode(),
    }  # fmt: skip
    for name, content in texts.items():
        ran.with_name(name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}: .*Script"):
            load_openmm_force_field([name])
    assert not ran.exists()


def test_latin_letters_are_read_and_gzipped_files_too(ran: Path) -> None:
    text = f'<?xml version="1.0" encoding="latin-1"?><ForceField><!-- \u00fc -->{ATOM_TYPES}</ForceField>'
    ran.with_name("latin.xml").write_bytes(text.encode("latin-1"))
    ran.with_name("latin.xml.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("latin.xml", "latin.xml.gz"):
        assert load_openmm_force_field([name])._atomTypes["a"].mass == 12.0


def test_what_was_checked_is_what_is_loaded(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes after it was read changes nothing."""
    path = write(ran.with_name("turncoat.xml"), ATOM_TYPES)
    read = Path.read_bytes

    def read_and_change(self: Path) -> bytes:
        content = read(self)
        if self == path:
            write(path, *make_code(ran).values())
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_change)
    make_system(load_openmm_force_field([path]))
    assert "Script" in path.read_text()
    assert not ran.exists()


def test_openmm_s_own_files_are_trusted_and_found(ran: Path) -> None:
    """charmm_polar_2013.xml holds scripts; amber14-all.xml includes others."""
    assert load_openmm_force_field(["charmm_polar_2013.xml"])._scripts
    own = load_openmm_force_field(["amber14-all.xml", "amber14/tip3p.xml", get_bundled_path("ligand_gaff2.xml")])
    openmm = app.ForceField("amber14-all.xml", "amber14/tip3p.xml", str(get_bundled_path("ligand_gaff2.xml")))
    assert own._templates.keys() == openmm._templates.keys()
    assert own._atomTypes.keys() == openmm._atomTypes.keys()
    assert own._templateSignatures.keys() == openmm._templateSignatures.keys()


def test_a_user_s_file_may_include_openmm_s(ran: Path) -> None:
    path = write(ran.with_name("mine.xml"), '<Include file="amber14/tip3p.xml"/>', '<Include file="mine.xml"/>')
    assert "HOH" in load_openmm_force_field([path])._templates


@pytest.mark.parametrize("name", ["amber14-all.xml", "charmm36.xml", "amber14/protein.ff14SB.xml"])
def test_a_file_here_is_not_openmm_s_own_because_of_its_name(ran: Path, name: str) -> None:
    write(ran.parent / name, *make_code(ran).values())
    with pytest.raises(InputError, match=rf"{name}.*`allow_scripts=True`"):
        load_openmm_force_field([name])
    assert find_own_file(name).is_relative_to(Path(app.__file__).parent)
    load_openmm_force_field([find_own_file("amber14-all.xml")])  # whose parts are not looked for here
    assert not ran.exists()


@pytest.mark.parametrize(
    "name", ["../../../../../../../../../..{}", "amber14/../../../../../../../../../../..{}", "{}"]
)
def test_a_path_that_leaves_openmm_s_folder_is_not_its_own(ran: Path, name: str) -> None:
    path = write(ran.parent / "evil.xml", make_code(ran)["InitializationScript"])
    with pytest.raises(InputError):
        load_openmm_force_field([name.format(path)])
    assert not ran.exists()


def test_bombs_and_entities_are_refused_before_they_are_expanded(ran: Path) -> None:
    laughs = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 12))
    for doctype in (f'<!ENTITY l0 "ha">{laughs}', '<!ENTITY l11 SYSTEM "file:///etc/hostname">'):
        path = write(ran.with_name("bomb.xml"), "<Info>&l11;</Info>", declaration=f"<!DOCTYPE ForceField [{doctype}]>")
        for allow_scripts in (False, True):
            with pytest.raises(InputError, match=r"bomb\.xml.*document type declaration"):
                load_openmm_force_field([path], allow_scripts=allow_scripts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no element found"),
        ("<ForceField>", "no element found"),
        ("<System/>", "<System>, not a <ForceField>"),
        ("<ForceField>" + "<a>" * 2000 + "</a>" * 2000 + "</ForceField>", "nested"),
        ('<ForceField><Include file="nowhere.xml"/></ForceField>', "includes nowhere.xml"),
        ('<ForceField><Include file="/dev/zero"/></ForceField>', "includes /dev/zero"),
        ("<ForceField><Include/></ForceField>", "Include.*names no file"),
        ("<ForceField><AtomTypes><Type/></AtomTypes></ForceField>", "x.xml"),
        (f"<ForceField>{NONBONDED.format('True')}{NONBONDED.format('yes')}</ForceField>", "useDispersionCorrection"),
    ],
)
def test_other_files_get_one_line(ran: Path, content: str, message: str) -> None:
    ran.with_name("x.xml").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        load_openmm_force_field(["x.xml"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.xml", "", ".", "amber14", "/dev/zero", "a\0b"])
def test_what_is_no_file_is_said(ran: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_openmm_force_field([name])


def test_energies_take_and_refuse_such_files(ran: Path) -> None:
    path = write(ran.with_name("evil.xml"), make_code(ran)["Script"])
    files = ["amber14-all.xml", get_bundled_path("ligand_gaff2.xml"), path]
    with pytest.raises(InputError, match="Script"):
        load_force_field_model(files, get_bundled_path("complex.pdb"), ligand="0WC")
    assert not ran.exists()
    load_force_field_model(files, get_bundled_path("complex.pdb"), ligand="0WC", allow_scripts=True)
    assert ran.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "{run}", "--out", "o", "--forcefield", "evil.xml", "--run-top", "{pdb}", "--system-top", "{pdb}"],
        ["compare", "{run}", "--out", "o", "--forcefield", "amber14-all.xml", "--ligand-parameters", "evil.xml",
         "--run-top", "{pdb}"],
        ["train", "{run}", "--top", "{top}", "--ligand", "0WC", "--kind", "verlet", "--forcefield", "evil.xml",
         "--system-top", "{pdb}", "--quiet", "--out", "o/m.pt"],
        ["reference", "{pdb}", "--ligand", "0WC", "--ligand-parameters", "evil.xml", "--solvent", "none", "--out", "o"],
    ],
    ids=["forcefield", "ligand-parameters", "train", "reference"],
)  # fmt: skip
def test_commands_refuse_code_and_say_which_option_allows_it(
    ran: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write(ran.with_name("evil.xml"), make_code(ran)["InitializationScript"])
    pdb = str(get_bundled_path("complex.pdb"))
    paths = {"run": get_bundled_path("r1_pocket.xtc"), "top": get_bundled_path("pocket.pdb"), "pdb": pdb}
    command = [w.format(**paths) for w in words]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(word in error for word in ("evil.xml", "InitializationScript", "--allow-scripts"))
    assert not ran.exists()
    main([*command, "--allow-scripts"])
    assert ran.exists()
    assert not (ran.parent / "o").exists() or words[0] == "reference"


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "RUN", "--out", "o"],
        ["compare", "RUN", "--out", "o", "--system", "s.xml", "--system-top", "a.pdb"],
        ["train", "{run}", "--top", "{top}", "--ligand", "0WC", "--kind", "verlet", "--out", "m.pt"],
        ["train", "{run}", "--top", "{top}", "--ligand", "0WC", "--kind", "sde", "--out", "m.pt"],
        ["reference", "--out", "o"],
        ["reference", "--out", "o", "--system", "s.xml", "--top", "a.pdb"],
    ],
)
def test_the_option_without_such_files_is_said(ran: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    paths = {"run": get_bundled_path("r1_pocket.xtc"), "top": get_bundled_path("pocket.pdb")}
    assert main([*(w.format(**paths) for w in words), "--allow-scripts"]) == 2
    assert "force" in (error := capsys.readouterr().err) or "--allow-scripts" in error
