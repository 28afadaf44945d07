"""The walk through every family and engine: it goes on where it was stopped, and tells what ended it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from engines.backends import family_table
from engines.backends.base import Backend
from engines.backends.family_pairs import CLOSEST, COLUMNS, Column, Row
from engines.backends.family_table import apart, families, forget_refusals, keep, kept, main, table, walk
from engines.errors import BuildError, EngineError
from engines.models.small.families import MAKERS, NETWORKS

SMALLEST = "real-esrgan-srvgg"
ROW = Row("sd15", "decoder", "abc", "mlx", "1.0", 1e-6, 130.0, "", {"bytes": 2048})
OPENVINO = tuple(one for one in COLUMNS if one.name == "openvino")


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARETO_STUDIO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def test_every_family_and_network_is_walked() -> None:
    assert {*families()} == {*MAKERS, *NETWORKS, "tiny decoder"}


def test_a_pair_is_built_once_and_a_program_of_another_family_is_not_built_again(tmp_path: Path) -> None:
    first = list(walk(SMALLEST, tmp_path, OPENVINO, []))
    assert [(row.component, row.column, row.refused) for row in first] == [("upscaler", "openvino", "")]
    assert first[0].psnr is not None
    assert first[0].psnr > 60
    assert first[0].facts["bytes"] > 0
    assert list(walk(SMALLEST, tmp_path, OPENVINO, first)) == []
    assert list(walk(SMALLEST, tmp_path, OPENVINO, [replace(first[0], family="another")])) == []
    older = replace(first[0], version="0.1")
    assert len(list(walk(SMALLEST, tmp_path, OPENVINO, [older]))) == 1


def test_a_refusal_is_a_row_and_is_tried_again_when_it_was_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = type(family_table_backend("openvino"))

    def refuse(*_: object) -> None:
        raise BuildError("it has no Conv in conv.0")

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_build", refuse)
        patch.setattr(engine, "version", lambda _: "another")  # an artifact of its own
        (row,) = walk(SMALLEST, tmp_path, OPENVINO, [])
        assert row.refused == "it has no Conv in conv.0"
        path = tmp_path / "rows.jsonl"
        keep(path, row)
        keep(path, ROW)
        assert list(walk(SMALLEST, tmp_path, OPENVINO, list(kept(path).values()))) == []
        forget_refusals(path, [SMALLEST], OPENVINO)
        assert list(kept(path).values()) == [ROW]
        patch.undo()
        patch.setattr(engine, "version", lambda _: "another")
        (row,) = walk(SMALLEST, tmp_path, OPENVINO, list(kept(path).values()))
    assert row.refused == ""


def family_table_backend(name: str) -> Backend:
    from engines.backends import backend

    return backend(name)


def test_a_line_that_a_stop_cut_short_counts_as_not_built(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    keep(path, ROW)
    path.write_text(path.read_text() + '{"family": "sd')
    keep(path, replace(ROW, column="coreml"))
    assert [row.column for row in kept(path).values()] == ["mlx", "coreml"]


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script in Python's place")
def test_a_build_that_ends_its_process_is_a_row_with_the_pair_that_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Python's place a program that begins a pair and dies, and another time has nothing left to do."""
    program = tmp_path / "python"
    began = family_table.START + json.dumps(asdict(replace(ROW, max_abs=None, psnr=None)))
    program.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/once ] && exit 0\ntouch {tmp_path}/once\necho '{began}'\nkill -9 $$\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    (row,) = apart(["sd15"], tmp_path, COLUMNS, tmp_path / "rows.jsonl")
    assert (row.component, row.column) == ("decoder", "mlx")
    assert row.refused == "its build ended the process (exit status -9)"
    program.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(EngineError, match="ended with exit status 1 between"):
        list(apart(["sd15"], tmp_path, COLUMNS, tmp_path / "rows.jsonl"))


def test_the_table_has_a_number_for_each_sentence() -> None:
    columns = [one for one in COLUMNS if one.name in ("mlx", "mlx-w4", "coreml", "tensorrt")]
    facts = {"bytes": 4096, "quantised": 3, "excluded": 2}
    rows = [
        ROW,
        replace(ROW, column="mlx-w4", max_abs=0.25, psnr=30.2, facts=facts),
        replace(ROW, column="coreml", max_abs=None, psnr=None, facts={"weight_bytes": 1024, "operators": 7}),
        replace(ROW, column="tensorrt", refused="no Einsum"),
        replace(ROW, family="wan", column="tensorrt", refused="no Einsum"),
    ]
    assert list(table(rows, columns))[2:] == [
        "| sd15 | decoder | 1e-06, 130 dB | 2e-01, 30 dB, 3 of 5 | built, 1 KiB, 7 operators | no (1) |",
        "| wan | decoder |  |  |  | no (1) |",
        "",
        "1. no Einsum",
    ]


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for given, said in ((["--families", "sd99"], "no family sd99"), (["--engines", "x"], "no engine x")):
        with pytest.raises(SystemExit):
            main(given)
        assert said in capsys.readouterr().err


def installed(column: Column) -> bool:
    return (
        find_spec(
            {"mlx": "mlx", "coreml": "coremltools", "tensorrt": "tensorrt_rtx"}.get(column.backend, "torch")
        )
        is not None
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "column", [one for one in COLUMNS if one.name != "compile"], ids=lambda one: one.name
)
@pytest.mark.parametrize("name", families())
def test_every_component_of_a_family_is_built(tmp_path: Path, name: str, column: Column) -> None:
    if not installed(column):
        pytest.skip(f"{column.backend} is not installed")
    rows = list(walk(name, tmp_path, [column], []))
    assert rows
    assert [(row.component, row.refused) for row in rows if row.refused] == []
    if column.name == "mlx":
        assert all(row.max_abs is not None and row.max_abs <= CLOSEST for row in rows)
