"""Serialized Systems from strangers: nothing in them runs, and what cannot be simulated is said in one line."""

import gzip
from collections.abc import Callable
from pathlib import Path

import openmm as mm
import pytest

from openmm_neuralmd.errors import InputError
from openmm_neuralmd.force_field.system_files import read_system

N_PARTICLES = 4


def make_system(*forces: mm.Force) -> str:
    """XML of a System of a few particles, with virtual site, constraint and these forces."""
    system = mm.System()
    for _ in range(N_PARTICLES):
        system.addParticle(1.5)
    system.addConstraint(0, 1, 0.1)
    system.setParticleMass(3, 0.0)
    system.setVirtualSite(3, mm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    for force in forces:
        system.addForce(force)
    return mm.XmlSerializer.serialize(system)


def make_forces() -> list[mm.Force]:
    """Of the kinds that hold others, tables, numbers called type, and texts with signs that XML escapes."""
    bonds = mm.HarmonicBondForce()
    bonds.addBond(0, 2, 0.15, 1000.0)
    bonds.setName("a & b < c > d \" e ' f")
    inner = mm.CustomBondForce("step(r-1)*k")
    inner.addPerBondParameter("k")
    inner.addBond(0, 2, [3.25])
    variables = mm.CustomCVForce("v*w")
    variables.addCollectiveVariable("v", inner)
    deeper = mm.CustomCVForce("u")
    deeper.addCollectiveVariable("u", mm.HarmonicBondForce(bonds))
    variables.addCollectiveVariable("w", deeper)
    pairs = mm.CustomNonbondedForce("table(r)")
    pairs.addTabulatedFunction("table", mm.Continuous1DFunction([0.0, 1.0, 0.5], 0.0, 3.0))
    many = mm.CustomManyParticleForce(3, "distance(p1,p2)")
    many.setNonbondedMethod(mm.CustomManyParticleForce.CutoffNonPeriodic)
    many.setTypeFilter(0, {0})
    born = mm.CustomGBForce()
    born.addComputedValue("v", "r", mm.CustomGBForce.ParticlePair)
    born.addEnergyTerm("v", mm.CustomGBForce.SingleParticle)
    for _ in range(N_PARTICLES):
        pairs.addParticle([])
        many.addParticle([], 0)
        born.addParticle([])
    return [bonds, variables, pairs, many, born, mm.CMMotionRemover(10)]


def test_core_forces_are_read_as_they_were_written(tmp_path: Path) -> None:
    text = make_system(*make_forces())
    (tmp_path / "system.xml").write_text(text)
    (tmp_path / "system.xml.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("system.xml", "system.xml.gz"):
        assert mm.XmlSerializer.serialize(read_system(tmp_path / name)) == text


def put_force(kind: str) -> str:
    """A System with one force whose type is ``kind``, as it stands in the file."""
    return make_system(mm.HarmonicBondForce()).replace('type="HarmonicBondForce"', f'type="{kind}"')


def nest(text: str) -> str:
    """The same inside a CustomCVForce."""
    start = text.index("<Force ")
    stop = text.rindex("</Forces>")
    return (
        f'{text[:start]}<Force type="CustomCVForce" version="0" energy="v" forceGroup="0" name="x"><GlobalParameters/>'
        '<EnergyParameterDerivatives/><CollectiveVariables><CollectiveVariable name="v">'
        f"{text[start:stop]}</CollectiveVariable></CollectiveVariables><Functions/></Force>{text[stop:]}"
    )


@pytest.mark.parametrize("kind", ["PythonForce", "PythonTorchForce", "TorchForce", "PlumedForce", "SomebodysForce"])
@pytest.mark.parametrize(
    "hide",
    [
        str,
        nest,
        lambda text: text.replace('type="P', 'type="&#80;').replace('type="T', 'type="&#x54;'),
        lambda text: text.replace(" name=", " name = ").replace("<Forces>", "<Forces><!-- -->"),
        lambda text: text.replace("<Force ", "<Anything "),
    ],
    ids=["plain", "nested", "references", "comments", "renamed"],
)
def test_types_that_run_or_load_code_are_refused(tmp_path: Path, kind: str, hide: Callable[[str], str]) -> None:
    (tmp_path / "system.xml").write_text(hide(put_force(kind)))
    with pytest.raises(InputError, match=rf"system\.xml: holds a {kind}.*`system`"):
        read_system(tmp_path / "system.xml")


def test_a_pickled_function_does_not_run(tmp_path: Path) -> None:
    pickled = b"cos\nsystem\n(S'touch %s'\ntR." % str(tmp_path / "ran").encode()
    text = put_force("&#80;ythonForce").replace("<Force ", f'<Force function="{pickled.hex()}" ')
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / "system.xml").write_bytes(text.encode(encoding))
        with pytest.raises(InputError):
            read_system(tmp_path / "system.xml")
    assert not (tmp_path / "ran").exists()


LAUGHS = "".join(f'<!ENTITY l{k} "{f"&l{k - 1};" * 10}">' for k in range(1, 12))
DOCTYPES = {
    "laughs": f'<!DOCTYPE System [<!ENTITY l0 "ha">{LAUGHS}]>',
    "external": '<!DOCTYPE System [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
    "parameter": '<!DOCTYPE System [<!ENTITY % x SYSTEM "file:///etc/hostname"> %x;]>',
    "subset": '<!DOCTYPE System SYSTEM "file:///etc/hostname">',
}


@pytest.mark.parametrize("doctype", DOCTYPES.values(), ids=DOCTYPES)
def test_entities_are_refused_before_they_are_expanded(tmp_path: Path, doctype: str) -> None:
    text = make_system().replace('"?>', f'"?>{doctype}', 1).replace('version="1">', 'version="1"><a b="&l11;"/>', 1)
    assert doctype in text or text.startswith("<?xml")
    (tmp_path / "system.xml").write_text(text if doctype in text else text.replace("<System", f"{doctype}<System", 1))
    with pytest.raises(InputError, match=r"system\.xml.*document type declaration"):
        read_system(tmp_path / "system.xml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('mass="1.5"', 'mass="nan"', "mass=(NaN|Infinity) in a Particle"),
        ('mass="1.5"', 'mass="inf"', "mass=(NaN|Infinity) in a Particle"),
        ('mass="1.5"', 'mass="heavy"', "a mass is 'heavy'"),
        ('mass="1.5"', 'mass="-1.5"', "particle 0 .*-1.5 Da"),
        ('k="1000"', 'k="nan"', "k=NaN in a Bond"),
        ('<A x="2"', '<A x="nan"', "x=NaN in a A"),
        ('k="1000" p1="0"', 'k="1000" p1="99999999"', "OpenMM cannot use"),
        ('d=".15"', 'd="1e400"', "d=Infinity in a Bond"),
        ("<Particles>", "<Particles><a>", "not a serialized System: mismatched tag"),
        ("<Particles>", "<Other>" * 5000 + "</Other>" * 5000 + "<Particles>", "nested"),
        ("System ", "State ", "holds a State, not a System"),
        ('type="System"', 'type="HarmonicBondForce"', "holds a HarmonicBondForce, not a System"),
        ('type="System"', 'type="System" type="PythonForce"', "duplicate attribute"),
        ("table(r)", "table(r", "OpenMM cannot use"),
    ],
)
def test_what_cannot_be_simulated_is_said(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = make_system(*make_forces())
    assert old in text, text
    (tmp_path / "system.xml").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        read_system(tmp_path / "system.xml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", " ", "no xml", "<a/>", "<System/>", "<System type='System' version='1'/>"])
def test_other_files_are_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "system.xml").write_text(content)
    with pytest.raises(InputError, match=r"system\.xml: "):
        read_system(tmp_path / "system.xml")


def test_a_system_without_particles_is_said(tmp_path: Path) -> None:
    (tmp_path / "system.xml").write_text(mm.XmlSerializer.serialize(mm.System()))
    with pytest.raises(InputError, match="no particles"):
        read_system(tmp_path / "system.xml")
