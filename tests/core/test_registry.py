from importlib.metadata import EntryPoint

import pytest

from crosscal.core import registry as module
from crosscal.core.errors import InputError, UnknownNameError
from crosscal.core.registry import Registry


@pytest.fixture
def family() -> Registry:
    return Registry("shape", {"axis": "crosscal.core.grid:Axis", "grid": "crosscal.core.grid:Grid"})


def test_members_are_imported_on_use(family):
    from crosscal.core.grid import Axis

    assert family.get("axis") is Axis


def test_case_does_not_matter(family):
    assert family.get("AXIS") is family.get("axis")
    assert "Axis" in family
    assert "cube" not in family


def test_unknown_member_names_the_closest(family):
    with pytest.raises(UnknownNameError, match=r"job\.toml: unknown shape 'axs'; expected 'axis'"):
        family.get("axs", where="job.toml")


def test_members_can_be_added_and_removed(family):
    family.register("mine", dict)
    assert family.get("mine") is dict
    family.unregister("mine")
    assert "mine" not in family


def test_a_taken_name_is_refused(family):
    with pytest.raises(InputError, match="already taken"):
        family.register("axis", dict)


def test_names_keep_the_order_and_describe_has_a_line_each(family):
    assert tuple(family) == family.names() == ("axis", "grid")
    assert len(family) == 2
    assert family.describe()["axis"].startswith("One named")


def test_other_packages_add_members_through_entry_points(monkeypatch):
    point = EntryPoint("tapir", "collections:OrderedDict", "crosscal.animals")
    monkeypatch.setattr(module, "entry_points", lambda group: [point] if group == "crosscal.animals" else [])
    from collections import OrderedDict

    assert Registry("animal", {}).get("tapir") is OrderedDict
