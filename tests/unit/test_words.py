"""Names are the field's terms: none of the private words that this project once used stands in its code again."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

WORDS = {
    *("at_hand", "around", "brought", "carried", "course", "crew", "crews", "dealt", "doorman", "elsewhere", "ground"),
    *("hands", "here", "holder", "judge", "keeping", "looked", "making", "news", "nobody", "opening", "peer", "peers"),
    *("remark", "remarks", "remembered", "settled", "sight", "spread", "stories", "story", "striped", "team", "teams"),
    *("together", "told", "tried", "turn_to", "ways", "weigh", "weighed", "weighs"),
}
"""Never an identifier, whatever its case and however many underscores it begins with."""

WORDS_OF = {
    "serve/foveate_capacity": frozenset({"known", "lines"}),
    "tune/foveate_tune/trials": frozenset({"known"}),
    "serve/foveate_serve": frozenset({"places", "take", "threshold"}),
}
"""Words that mean something plain elsewhere (numpy's ``take``, LightGBM's ``threshold``) and a private thing there."""

REPOSITORY = Path(__file__).resolve().parents[2]
ROOTS = ("platform", "serve", "tune", "infra")
FILES = [
    path.relative_to(REPOSITORY).as_posix() for root in ROOTS for path in sorted((REPOSITORY / root).rglob("*.py"))
]


@pytest.mark.parametrize("root", ROOTS)
def test_no_private_word_is_an_identifier(root: str) -> None:
    found = [
        f"{file}:{line}: {name}"
        for file in FILES
        if file.startswith(f"{root}/")
        for name, line in identifiers((REPOSITORY / file).read_text(encoding="utf-8"))
        if name.strip("_").lower() in words_of(file)
    ]
    assert not found


def test_a_word_is_found_wherever_an_identifier_may_stand() -> None:
    code = "import a.told\ndef f(team=1):\n    x.story = sight(holder=2)\nclass Crew: ...\nf'{news}'"
    assert {"told", "team", "story", "sight", "holder", "Crew", "news"} <= {name for name, _ in identifiers(code)}


def words_of(file: str) -> frozenset[str]:
    return WORDS.union(*(words for folder, words in WORDS_OF.items() if file.startswith(f"{folder}/")))


def identifiers(code: str) -> Iterator[tuple[str, int]]:
    """Yield every name that is bound, read, asked for or imported, with its line."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Name(id=name, lineno=line) | ast.Attribute(attr=name, lineno=line):
                yield name, line
            case ast.FunctionDef(name=name, lineno=line) | ast.AsyncFunctionDef(name=name, lineno=line):
                yield name, line
            case ast.ClassDef(name=name, lineno=line):
                yield name, line
            case ast.arg(arg=name, lineno=line) | ast.keyword(arg=str(name), lineno=line):
                yield name, line
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                imported = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                for path in [*imported, *(one.asname or one.name for one in names)]:
                    yield from ((part, node.lineno) for part in path.split("."))
