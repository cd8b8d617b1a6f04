"""How Sphinx builds the site: ``make docs``.

The sources are the pages of the repository as they stand, so a link between two of them works here and on a code host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from foveate import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "Foveate"
author = "The Foveate authors"
project_copyright = "The Foveate authors, Apache-2.0"
release = version = __version__

root_doc = "README"
include_patterns = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md"),
    *("infra/README.md", "infra/scale.md", "infra/runbooks/*.md", "infra/bench/*.md"),
]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "Foveate"
html_static_path = ["theme"]
html_css_files = ["foveate.css"]
html_extra_path = ["theme/index.html"]
html_show_sourcelink = False
pygments_style, pygments_dark_style = "friendly", "github-dark"

_PAGES = {
    "Begin": ("quickstart", "demo", "own-data", "python"),
    "Use": ("models", "sweeps", "serving", "cluster", "operations", "errors"),
    "Understand": ("architecture", "benchmarks", "glossary", "extending", "api"),
}
_ELSEWHERE = {
    "Operate": ("infra/README", "infra/scale", "infra/runbooks/*"),
    "Project": ("CONTRIBUTING", "CHANGELOG"),
}
_HIDDEN = ("infra/bench/*",)


def setup(app: Sphinx) -> None:
    """Give the first page the navigation, which it does not show on a code host."""
    app.connect("source-read", _add_navigation)


def _add_navigation(_app: Sphinx, page: str, text: list[str]) -> None:
    if page == root_doc:
        parts = {title: [f"docs/{name}" for name in names] for title, names in _PAGES.items()}
        text[0] += "".join(_toctree(title, pages) for title, pages in (parts | _ELSEWHERE).items())
        text[0] += _toctree("", _HIDDEN)


def _toctree(title: str, pages: tuple[str, ...] | list[str]) -> str:
    lines = ["", "```{toctree}", ":hidden:", ":glob:", ":maxdepth: 1", *([f":caption: {title}"] if title else []), ""]
    return "\n".join([*lines, *pages, "```", ""])
