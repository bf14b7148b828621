"""Every family: members load, say what they are, are found in any spelling, and other packages can add theirs."""

from dataclasses import is_dataclass
from importlib.metadata import EntryPoint

import pytest

from crosscal.cli.list import FAMILIES
from crosscal.core import registry as module
from crosscal.core.errors import UnknownNameError
from crosscal.core.registry import Registry

MEMBERS = [(family, name) for family in FAMILIES for name in FAMILIES.get(family)]

#: Family to its entry-point group: what other packages write into their project files.
GROUPS = {
    "parts": "crosscal.parts",
    "samplers": "crosscal.samplers",
    "report-sections": "crosscal.report_sections",
    "executors": "crosscal.executors",
    "modifiers": "crosscal.modifiers",
    "models": "crosscal.models",
    "kernels": "crosscal.kernels",
    "layouts": "crosscal.lightcurve_layouts",
    "emulators": "crosscal.emulators",
    "divergences": "crosscal.divergences",
    "templates": "crosscal.template_libraries",
    "frame-layouts": "crosscal.frame_layouts",
    "concordance-routes": "crosscal.concordance_routes",
}


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_a_member_loads_says_what_it_is_and_is_found_in_any_case(family, name):
    registry = FAMILIES.get(family)
    member = registry.get(name)
    # What does something, or (layouts of tables) says something.
    assert callable(getattr(member, "run", member)) or is_dataclass(member)
    assert len(registry.describe()[name]) > 10
    assert registry.get(name.upper()) is registry.get(name.lower()) is member


@pytest.mark.parametrize("family", list(FAMILIES))
def test_an_unknown_member_is_answered_with_the_closest(family):
    registry = FAMILIES.get(family)
    known = registry.names()[0]
    with pytest.raises(UnknownNameError, match=f"unknown {registry.kind}") as refused:
        registry.get(known[:-1] + "#", where="here")
    assert repr(known) in str(refused.value)


def test_every_family_has_a_group():
    assert {family: FAMILIES.get(family).group for family in FAMILIES} == GROUPS


@pytest.mark.parametrize("family", list(FAMILIES))
def test_another_package_adds_a_member_and_cannot_replace_one(family, monkeypatch):
    own = FAMILIES.get(family)
    points = [EntryPoint(name, "collections:OrderedDict", GROUPS[family]) for name in ("foreign", own.names()[0])]
    monkeypatch.setattr(module, "entry_points", lambda group: points if group == GROUPS[family] else [])
    fresh = Registry(own.kind, {own.names()[0]: "json:loads"})
    assert fresh.get("foreign").__name__ == "OrderedDict"
    assert fresh.get(own.names()[0]).__name__ == "loads"
