"""Sphinx configuration; build with ``sphinx-build -W --keep-going -b html docs docs/_build``."""

import os
import sys
from pathlib import Path

from crosscal import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
import inventories  # noqa: E402

# The examples run on built-in data, as they do for a newcomer, one thread for linear algebra.
os.environ.pop("CROSSCAL_DATA", None)
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ["COLUMNS"] = "100"
# Cells that start a command after JAX was used: JAX warns of every fork, also of those that only start a program.
os.environ["PYTHONWARNINGS"] = "ignore:os.fork():RuntimeWarning"
# Examples call the command `crosscal` of the environment that builds the site.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

project = "CrossCal"
author = "The CrossCal developers"
copyright = "2026, The CrossCal developers"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "mathml",
    "measured",
    "api",
    "commands",
    "extras",
]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
default_role = "py:obj"

# Pages
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3

# Examples: run once, kept until their page changes; an error fails the build.
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_show_tb = True
nb_merge_streams = True

# Reference, a page for each name, from the docstrings of the public names
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False
# Types in words ("array (n, N)") stay words: as fields of Sphinx they would become links to whatever has that name.
napoleon_use_param = False
napoleon_custom_sections = [("Attributes", "params_style")]
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
# Annotations name classes without their modules, and three parts have a class Model.
suppress_warnings = ["ref.python"]

# Links to the documentation of other packages, without a download
intersphinx_mapping = inventories.write(HERE / "reference" / "generated" / "inventories")
# Copy what is typed, without prompts
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Look
html_theme = "furo"
html_title = f"CrossCal {__version__}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5f8b", "color-brand-content": "#1f5f8b"},
    "dark_css_variables": {"color-brand-primary": "#7cb8e0", "color-brand-content": "#7cb8e0"},
}
