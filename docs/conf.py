"""Sphinx configuration; build with ``python -m sphinx -W docs docs/_build``."""

project = "CrossCal"
author = "The CrossCal developers"
copyright = "2026, The CrossCal developers"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
exclude_patterns = ["_build", "features_*.md"]
html_theme = "furo"
html_title = "CrossCal"
autodoc_typehints = "description"
autosummary_generate = True
