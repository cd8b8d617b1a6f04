"""How Sphinx builds the site: ``make docs``.

The sources are the pages of the repository as they stand, so a link between two of them works here and on a code host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard

from pydantic import BaseModel

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
python_maximum_signature_line_length = 96

html_theme = "furo"
html_title = "Foveate"
html_static_path = ["theme"]
html_css_files = ["foveate.css"]
html_extra_path = ["theme/index.html"]
html_show_sourcelink = False
pygments_style, pygments_dark_style = "friendly", "github-dark"

NAVIGATION = {
    "Begin": ("docs/quickstart", "docs/demo", "docs/own-data", "docs/python", "docs/command-line"),
    "Use": (
        "docs/models",
        "docs/sweeps",
        "docs/serving",
        "docs/exploration",
        "docs/served-log",
        "docs/cluster",
        "docs/operations",
        "docs/errors",
    ),
    "Understand": (
        "docs/architecture",
        "docs/benchmarks",
        "docs/results",
        "docs/glossary",
        "docs/extending",
        "docs/api",
    ),
    "Operate": (
        "Machines and Kubernetes <infra/README>",
        "infra/runbooks/*",
        "A plan for 100 million videos <infra/scale>",
    ),
    "Measured": ("Attention <infra/bench/attention_table>", "Diversity <infra/bench/diversity_curve>"),
    "Project": ("Contributing <CONTRIBUTING>", "Changelog <CHANGELOG>"),
}


def setup(app: Sphinx) -> None:
    """Add the navigation to the first page, which does not show it on a code host, and the fields of messages."""
    app.connect("source-read", _add_navigation)
    app.connect("autodoc-process-signature", _without_signature)
    app.connect("autodoc-process-docstring", _with_fields)


def _add_navigation(_app: Sphinx, page: str, text: list[str]) -> None:
    if page == root_doc:
        text[0] += "".join(_toctree(title, pages) for title, pages in NAVIGATION.items())


def _toctree(title: str, pages: tuple[str, ...]) -> str:
    return "\n".join(["", "```{toctree}", ":hidden:", ":glob:", f":caption: {title}", "", *pages, "```", ""])


def _without_signature(_app: Sphinx, _what: str, _name: str, value: object, *_rest: object) -> tuple[str, None] | None:
    return ("", None) if _is_message(value) else None


def _with_fields(_app: Sphinx, _what: str, _name: str, value: object, _options: object, lines: list[str]) -> None:
    if _is_message(value):
        described = {name: field.description for name, field in value.model_fields.items()}
        lines += ["", *(f":param {name}: {text or ''}" for name, text in described.items())]


def _is_message(value: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(value, type) and issubclass(value, BaseModel)
