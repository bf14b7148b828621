"""Every template library: absent files are named, and what is returned is a library that fits can use."""

import inspect

import numpy as np
import pytest

from crosscal.core.errors import DataFileError
from crosscal.fluxcal.stars.template_files import DEFAULT_PATHS, LIBRARIES, load_templates
from crosscal.fluxcal.stars.templates import PARAMETERS, TemplateLibrary

BUILT_IN = {"demo"}
READERS = [name for name in LIBRARIES if name not in BUILT_IN]


def test_every_published_library_has_a_place_in_the_data():
    assert set(DEFAULT_PATHS) == set(READERS) - {"grid"}


@pytest.mark.parametrize("name", READERS)
def test_absent_files_are_named(name, tmp_path):
    absent = tmp_path / "nowhere"
    assert next(iter(inspect.signature(LIBRARIES.get(name)).parameters)) == "path"
    for call in (LIBRARIES.get(name), lambda path: load_templates(name, path, cache=False)):
        with pytest.raises(DataFileError, match="nowhere"):
            call(absent)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_built_in_templates_are_a_library(name):
    library = load_templates(name)
    assert isinstance(library, TemplateLibrary)
    assert library.flux.shape == (len(library), library.wavelength.size)
    assert np.all(library.flux > 0)
    # The abundance of alpha elements is known of some libraries only.
    assert library.parameters.shape in [(len(library), n) for n in (len(PARAMETERS) - 1, len(PARAMETERS))]
    assert len(set(library.label)) == len(library)
