from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.core.config import from_dict, load_yaml, to_dict
from foveate.core.errors import ConfigError
from foveate.core.overrides import apply_options, apply_overrides
from foveate.core.registry import Registry, Variant


class Shape(Variant):
    variants: ClassVar[Registry[Shape]]


@dataclass(frozen=True)
class Circle(Shape):
    name: ClassVar[str] = "circle"
    radius: float = 1.0


Shape.variants = Registry("shape", Shape, "foveate.data")
Shape.variants._found = {"circle": Circle}


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    layers: tuple[int, ...] = (1, 2)
    mode: Literal["fast", "slow"] = "fast"


@dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner = field(default_factory=Inner)
    shape: Shape = field(default_factory=Circle)
    note: str | None = None
    weights: dict[str, float] = field(default_factory=dict)
    path: Path | None = None
    flag: bool = False


@given(
    count=st.integers(),
    rate=st.floats(allow_nan=False, allow_infinity=False),
    layers=st.lists(st.integers(), max_size=4),
    weights=st.dictionaries(st.text(), st.floats(allow_nan=False)),
    note=st.none() | st.text(),
)
def test_round_trip(count: int, rate: float, layers: list[int], weights: dict[str, float], note: str | None) -> None:
    config = Outer(count, Inner(rate, tuple(layers)), Circle(2.5), note, weights, Path("a/b"))
    assert from_dict(Outer, to_dict(config)) == config


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "setting 'count' is missing"),
        ({"count": 1, "inner": {"rte": 2}}, "inner: unknown setting 'rte'. Did you mean 'rate'?"),
        ({"count": "1"}, "count: expected an integer, got '1'"),
        ({"count": True}, "count: expected an integer, got True"),
        ({"count": 1, "inner": {"layers": [1, "a"]}}, r"inner.layers\[1\]: expected an integer, got 'a'"),
        ({"count": 1, "inner": {"mode": "medium"}}, "inner.mode: expected one of fast, slow, got 'medium'"),
        ({"count": 1, "shape": {"name": "circle", "width": 3}}, "shape: unknown setting 'width'"),
        ({"count": 1, "shape": {"radius": 3}}, "shape: expected a shape: one of circle"),
        ({"count": 1, "weights": {"a": "b"}}, "weights.a: expected a number, got 'b'"),
        ({"count": 1, "flag": 1}, "flag: expected true or false, got 1"),
        ({"count": 1, "inner": 3}, "inner: expected settings for Inner, got 3"),
    ],
)
def test_a_fault_names_its_place(data: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        from_dict(Outer, data)


def test_a_variant_may_be_its_name_alone() -> None:
    assert from_dict(Outer, {"count": 1, "shape": "circle"}).shape == Circle()


def test_overrides_reach_into_groups_and_variants() -> None:
    data = apply_overrides({"count": 1, "shape": "circle"}, ["inner.rate=1e-3", "shape.radius=4", "inner.layers=[3]"])
    assert from_dict(Outer, data) == Outer(1, Inner(0.001, (3,)), Circle(4.0))


def test_overrides_leave_the_original_alone() -> None:
    data = {"inner": {"rate": 1.0}}
    apply_overrides(data, ["inner.rate=2"])
    assert data == {"inner": {"rate": 1.0}}


@pytest.mark.parametrize("text", ["rate", "=3", "count.x=1", "inner.rate=[", "inner.layers.0=1"])
def test_a_bad_override_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="override"):
        apply_overrides({"count": 1, "inner": {"rate": 1, "layers": [1]}}, [text])


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: 1\na: 2\n", "key 'a' stands twice"), ("- 1\n", "must be a mapping"), ("a: [\n", "is not YAML")],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_yaml(file)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_yaml(tmp_path / "none.yaml")


@dataclass(frozen=True)
class Square(Shape):
    name: ClassVar[str] = "square"
    side: int = 1
    inner: Inner = field(default_factory=Inner)


Shape.variants._found["square"] = Square


@dataclass(frozen=True)
class Typed:
    text: str = ""
    maybe: str | None = None
    count: int | None = None
    width: float = 1.0
    either: int | str = 0
    texts: tuple[str, ...] = ()
    kinds: dict[str, str] = field(default_factory=dict)
    open: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    flag: bool = True
    shape: Shape = field(default_factory=Circle)
    shapes: tuple[Shape, ...] = field(default_factory=lambda: (Circle(), Square()))


@pytest.mark.parametrize(
    ("override", "field_name", "value"),
    [
        ("text=on", "text", "on"),
        ("text=0", "text", "0"),
        ("text=::", "text", "::"),
        ("text=2024-01-01", "text", "2024-01-01"),
        ("text=null", "text", "null"),
        ("text=[a", "text", "[a"),
        ("text=a=b", "text", "a=b"),
        ("maybe=123", "maybe", "123"),
        ("maybe=null", "maybe", None),
        ("count=010", "count", 10),
        ("count=null", "count", None),
        ("count=", "count", None),
        ("width=1e-3", "width", 0.001),
        ("either=7", "either", 7),
        ("either=seven", "either", "seven"),
        ("path=123", "path", Path("123")),
        ("flag=off", "flag", False),
        ("texts=[on, 0, 1e3, a b]", "texts", ("on", "0", "1e3", "a b")),
        ("kinds.video.play=watch", "kinds", {"video.play": "watch"}),
        ("kinds.user_id=on", "kinds", {"user_id": "on"}),
        ("kinds={on: 0, video.play: watch}", "kinds", {"on": "0", "video.play": "watch"}),
        ("open.encoder.width=[32, 64]", "open", {"encoder": {"width": [32, 64]}}),
        ("shape=square", "shape", Square()),
        ("shape.radius=2", "shape", Circle(2.0)),
        ("shape={name: square, side: 3}", "shape", Square(3)),
        ("shapes.square.side=4", "shapes", (Circle(), Square(4))),
        ("shapes.square.inner.layers=[3]", "shapes", (Circle(), Square(inner=Inner(layers=(3,))))),
        ("shapes=[circle]", "shapes", (Circle(),)),
    ],
)
@pytest.mark.parametrize("data", [{}, to_dict(Typed())])
def test_an_override_is_read_by_the_type_of_its_field(
    data: dict[str, Any], override: str, field_name: str, value: object
) -> None:
    assert getattr(from_dict(Typed, apply_overrides(data, [override], Typed)), field_name) == value


def test_a_variants_name_says_how_its_settings_are_read_whatever_comes_first() -> None:
    made = from_dict(Typed, apply_overrides({}, ["shape.side=3", "shape.name=square"], Typed))
    assert made.shape == Square(3)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("count=many", "count: expected an integer, got 'many'"),
        ("flag=1", "flag: expected true or false, got '1'"),
        ("shape.radios=1", "shape: unknown setting 'radios'. Did you mean 'radius'?"),
        ("shapes.sqare.side=1", "override 'shapes.sqare.side=1': 'shapes' has no 'sqare'. Did you mean 'square'?"),
        ("shapes.square.sid=1", r"unknown setting 'sid'. Did you mean 'side'\?"),
        ("shapes.square.inner.rte=1", r"inner: unknown setting 'rte'. Did you mean 'rate'\?"),
        ("texts=a", "texts: expected a list, got 'a'"),
        ("text.more=1", "text: expected a text, got"),
    ],
)
def test_what_does_not_fit_its_field_is_refused_by_name(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        from_dict(Typed, apply_overrides({}, [override], Typed))


def test_options_are_of_their_type_already() -> None:
    given = {"path": Path("null"), "text": "::", "count": None, "shapes.square.side": 9}
    made = from_dict(Typed, apply_options({"count": 3}, given, Typed))
    assert (made.path, made.text, made.count, made.shapes[1]) == (Path("null"), "::", 3, Square(9))
