"""Bad input is refused in one clear line, and nothing half-written is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from foveate.core.config import from_dict
from foveate.core.errors import DataError, FoveateError, OutputExistsError, ReaderError, SchemaError
from foveate.data.dataset import open_dataset
from foveate.data.importing.import_dataset import import_dataset
from foveate.data.readers.base import Reader

GOOD = "user_id,item_id,occurred_at,watch\nu,a,1,3\nv,b,2,3\nu,b,3,4\n"


def written(name: str, content: str | bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def truncated_parquet(folder: Path) -> Path:
    path = folder / "log.parquet"
    pl.DataFrame({"user": ["u", "v"] * 500, "item": [str(i) for i in range(1000)]}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])
    return path


def damaged_parquet(folder: Path) -> Path:
    path = folder / "log.parquet"
    pl.DataFrame({"user": ["u", "v"] * 500, "item": [str(i) for i in range(1000)]}).write_parquet(path)
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(data)
    return path


def kuairand_without(column: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        flags = [f"is_{name}" for name in ("click", "like", "follow", "comment", "forward", "hate", "rand")]
        names = ["user_id", "video_id", "time_ms", *flags, "long_view", "play_time_ms", "duration_ms", "tab"]
        kept = [name for name in names if name != column]
        (folder / "log_standard_1.csv").write_text(f"{','.join(kept)}\n{','.join('1' for _ in kept)}\n")
        return folder

    return write


CASES: dict[str, tuple[str, dict[str, object], Callable[[Path], Path], type[FoveateError], str]] = {
    "a missing column": ("kuairand", {}, kuairand_without("play_time_ms"), SchemaError, "'play_time_ms' is missing"),
    "a missing mapped column": (
        "table",
        {"columns": {"user_id": "uid"}},
        written("log.csv", GOOD),
        SchemaError,
        "'uid' is missing; it holds: user_id, item_id, occurred_at, watch",
    ),
    "a wrong type": (
        "table",
        {},
        written("log.csv", GOOD + "u,c,4,long\n"),
        ReaderError,
        r"log\.csv.*'watch'.*\"long\"",
    ),
    "a wrong type far down": (
        "recbole",
        {},
        written("x.inter", "user_id:token\titem_id:token\trating:float\n" + "1\t2\t3\n" * 5000 + "1\t2\tx\n"),
        ReaderError,
        r"x\.inter.*line 5,002, column 'rating' holds \"x\", not a number",
    ),
    "a time that is none": (
        "table",
        {},
        written("log.csv", GOOD + "u,c,soon,1\n"),
        ReaderError,
        r"log\.csv.*cannot be read.*ISO 8601",
    ),
    "an unknown kind": (
        "table",
        {"kinds": {"play": "watch"}},
        written("log.csv", "user_id,item_id,kind\nu,a,play\nv,b,dance\nv,a,\nv,b,dance\n"),
        SchemaError,
        r"log\.csv.*'dance' is unknown in 2 row.*1 row\(s\) have no kind.*map it with kinds.*on_error=skip",
    ),
    "an empty file": ("table", {}, written("log.csv", ""), ReaderError, "is empty"),
    "an empty log": ("table", {}, written("log.csv", GOOD.partition("\n")[0] + "\n"), DataError, "the log is empty"),
    "a log of blanks": (
        "table",
        {},
        written("log.csv", "user_id,item_id\n,a\n,b\n"),
        DataError,
        "2 by 'missing values'",
    ),
    "a log of one user": ("table", {}, written("log.csv", "user_id,item_id\nu,a\nu,b\n"), DataError, r"1 viewer\(s\)"),
    "a truncated Parquet": ("sequence", {}, truncated_parquet, ReaderError, "truncated"),
    "a damaged Parquet": ("sequence", {}, damaged_parquet, ReaderError, r"log\.parquet"),
    "latin-1": (
        "table",
        {},
        written("log.csv", GOOD.encode() + b"caf\xe9,a,3,1\n"),
        ReaderError,
        "is not UTF-8 text.*iconv",
    ),
    "utf-16": ("table", {}, written("log.csv", GOOD.encode("utf-16")), ReaderError, "is not UTF-8 text"),
    "broken JSON": (
        "table",
        {},
        written("log.jsonl", '{"user_id": "u", "item_id": "a"}\n{"user'),
        ReaderError,
        r"log\.jsonl",
    ),
    "an untyped header": ("recbole", {}, written("x.inter", "user_id\titem_id\n1\t2\n"), SchemaError, "NAME:TYPE"),
    "no log in the folder": (
        "movielens",
        {},
        lambda folder: folder,
        ReaderError,
        "neither ratings.csv nor ratings.dat",
    ),
    "no folder": ("kuairand", {}, lambda folder: folder / "nowhere", ReaderError, "does not exist"),
}


@pytest.mark.parametrize("case", list(CASES))
def test_refused_with_nothing_left(case: str, tmp_path: Path) -> None:
    name, settings, write, error, message = CASES[case]
    raw, parent = tmp_path / "raw", tmp_path / "outputs"
    raw.mkdir()
    parent.mkdir()
    path = write(raw)
    with pytest.raises(error, match=f"(?s){message}"):
        import_dataset(from_dict(Reader, {"name": name, **settings}), path, parent / "dataset")
    assert not list(parent.iterdir())


def test_an_output_that_holds_something_is_left_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("the only copy")
    (tmp_path / "log.csv").write_text(GOOD)
    with pytest.raises(OutputExistsError, match="already holds something"):
        import_dataset(Reader.variants["table"](), tmp_path / "log.csv", out)
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_a_dataset_cut_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(GOOD)
    import_dataset(Reader.variants["table"](), tmp_path / "log.csv", tmp_path / "out")
    (tmp_path / "out" / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="damaged"):
        open_dataset(tmp_path / "out")


def foveate(*arguments: object) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("foveate")
    return subprocess.run([script, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120)


def test_the_command_line_imports_and_describes(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(GOOD.replace("user_id", "who") + "u,b,3,4\n")
    report = tmp_path / "report.json"
    done = foveate(
        "data",
        "import",
        "table",
        tmp_path / "log.csv",
        "--out",
        tmp_path / "out",
        "--json",
        report,
        "columns.user_id=who",
    )
    assert done.returncode == 0, done.stderr
    assert "duplicates" in done.stdout
    assert "logged twice: user_id='u', item_id='b'" in done.stdout
    again = foveate("data", "describe", tmp_path / "out")
    assert again.stdout == done.stdout
    assert '"watch": 3' in report.read_text()
    # Another process, with other hash seeds, makes the same bytes.
    here = import_dataset(
        from_dict(Reader, {"name": "table", "columns": {"user_id": "who"}}), tmp_path / "log.csv", tmp_path / "here"
    )
    assert here.manifest.content_hash == open_dataset(tmp_path / "out").manifest.content_hash


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("tabel", "log.csv"), "no reader is called 'tabel'. Did you mean 'table'?"),
        (("table", "log.csv", "colums.user_id=uid"), "unknown setting 'colums'. Did you mean 'columns'?"),
        (("table", "latin.csv"), "is not UTF-8 text"),
    ],
)
def test_the_command_line_answers_a_mistake_in_one_line(arguments: tuple[str, ...], line: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(GOOD)
    (tmp_path / "latin.csv").write_bytes(GOOD.encode() + b"caf\xe9,a,3,1\n")
    reader, file, *overrides = arguments
    done = foveate("data", "import", reader, tmp_path / file, "--out", tmp_path / "out", *overrides)
    assert done.returncode == 2
    assert line in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
