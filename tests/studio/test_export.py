"""A candidate becomes a package that has proved itself, or nothing at all and a reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agent.candidate import Step
from engines import installing
from engines.errors import PackageError
from engines.package import sums
from engines.package.likeness import psnr
from engines.package.runner import read_picture
from engines.package.seal import check_folder
from engines.package.verify import verify as verify_package
from engines.package.write import write
from studio.errors import ExportError, RunError
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work.export import compare, export, export_candidate, place_of
from studio.work.exportable import exportable, follows_recipe
from studio.work.job import Job
from studio.work.proof import make_environment, prove
from studio.work.trust import verify
from tests.engines.package_parts import PROMPT, SEED, contents
from tests.packaging.clean_root import disk
from tests.studio.recorded_run import add, begin, script

OPENVINO = (
    Step("fewer-steps", {"steps": 4}),
    Step("prompt-cache"),
    Step("engine", {"backend": "openvino"}),
)
TORCH = (Step("fewer-steps", {"steps": 4}), Step("prompt-cache"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "r"
    with begin(folder) as journal:
        add(journal, folder, "c001", OPENVINO)
        add(journal, folder, "c002", TORCH)
        add(journal, folder, "c003", (*TORCH, Step("engine", {"backend": "compile"})))
        add(journal, folder, "c004", OPENVINO, state="failed")
        own = script(OPENVINO) + "\nimport os\nos.environ['A'] = 'b'\n"
        add(journal, folder, "c005", OPENVINO, text=own)
        add(journal, folder, "c006", OPENVINO, state="quarantined")
        add(journal, folder, "c007", (), text="def load(): ...", origin="given")
    return folder


@pytest.fixture
def package(tmp_path: Path) -> Path:
    write(contents(tmp_path), tmp_path / "tiny")
    return tmp_path / "tiny"


def test_the_winner_becomes_a_package_that_makes_the_studios_picture_on_its_own(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a relative place, as somebody types it, and a proof that runs elsewhere
    told: list[str] = []
    job = Job(home=tmp_path, on_progress=lambda _done, _total, doing: told.append(doing))
    (tmp_path / "out").mkdir()
    result = export(job, run="r", candidate="c001", out="out")

    found = verify_package(Path(result["zip"]))
    facts = found.manifest.additional_metadata
    assert found.id == result["id"] == verify_package(Path(result["package"])).id
    assert [one.technique for one in facts.techniques] == ["fewer-steps", "prompt-cache", "engine"]
    assert facts.verified_on[0].target.engine == "openvino"
    assert facts.evidence.latency is not None
    assert (facts.evidence.latency.warm_up, facts.evidence.latency.pairs) == (12, 4)
    denoiser = found.manifest.components["denoiser"].variants["openvino-cpu-fp32"].additional_metadata
    assert denoiser.parity is not None
    assert (denoiser.parity.cases, denoiser.parity.least_psnr) == (2, 60.0)
    assert result["proof"]["psnr"] >= 40
    pictures = [read_picture(run / result["proof"][name]) for name in ("own", "package")]
    assert psnr(*pictures) == result["proof"]["psnr"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "tiny-scenes-c001",
        "tiny-scenes-c001.pareto",
    }
    assert "Writing the package" in told
    shipped = " ".join((Path(result["package"]) / "requirements.txt").read_text().split())
    assert "torch" not in shipped
    assert "diffusers" not in shipped
    assert verify(job, result["zip"])["ok"]
    manifest = (Path(result["package"]) / "manifest.json").read_text()
    assert str(run) not in manifest
    assert str(Path.home()) not in manifest


def test_an_engine_without_packages_is_explore_only_and_another_is_offered(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "r"
    with begin(folder, target="cuda") as journal:
        add(journal, folder, "c001", (*TORCH, Step("engine", {"backend": "onnxruntime"})))
        # an engine of a later version, say: all that this one knows have packages
        add(journal, folder, "c002", (*TORCH, Step("engine", {"backend": "another"})))
    found = exportable(Job(home=tmp_path), "r", "c002")
    assert found["explore_only"]
    assert any(
        "another has no packages" in one["text"] for one in found["checks"] if one["state"] == "failed"
    )
    offered = next(offer for offer in found["offers"] if offer["engine"] == "onnxruntime")
    assert offered["candidate"] == "c001"
    with pytest.raises(ExportError, match="for exploring only"):
        export_candidate(folder, "c002")
    assert not (folder / "package").exists()


def test_a_script_that_does_more_than_its_recipe_is_not_exported(run: Path, tmp_path: Path) -> None:
    for name in ("c005", "c007"):
        found = exportable(Job(home=tmp_path), "r", name)
        assert not found["ok"]
    with pytest.raises(ExportError, match="does more than its recipe"):
        export_candidate(run, "c005")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("RECIPE))", "RECIPE[:1]))"),
        lambda text: text.replace("seeds).images", "seeds).images * 0"),
        lambda text: text.replace("from engines.pipeline", "from os"),
        lambda text: text + "\nprint()\n",
        lambda text: text.replace("def load", "def broken load"),
    ],
)
def test_only_the_standard_script_follows_its_recipe(change: object) -> None:
    assert callable(change)
    text = script(OPENVINO)
    assert follows_recipe(text)
    assert follows_recipe(
        text.replace("    return build", '    """Builds."""\n    # quick\n    return build')
    )
    assert not follows_recipe(change(text))


def test_failed_and_unknown_candidates_are_refused_and_quarantined_ones_carry_a_warning(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="c004 failed"):
        export_candidate(run, "c004")
    with pytest.raises(RunError, match="no candidate c099"):
        export_candidate(run, "c099")
    states = {one["name"]: one["state"] for one in exportable(Job(home=tmp_path), "r", "c006")["checks"]}
    assert states["judged"] == "warning"


def test_a_model_that_changed_since_the_run_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    with begin(folder) as journal:
        add(journal, folder, "c001", OPENVINO)
        state = RunState.replay(Journal.read(folder))
        assert state.started is not None
        model = state.started.model.model_copy(update={"hash": "0" * 32})
        journal.append(state.started.model_copy(update={"model": model}))
    with pytest.raises(ExportError, match="was changed after the run"):
        export_candidate(folder, "c001")


def test_a_place_that_holds_something_else_is_refused_before_any_work(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out" / "tiny-scenes-c001"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("years")
    with pytest.raises(PackageError, match="exists and is no package"):
        export_candidate(run, "c001", tmp_path / "out")
    with pytest.raises(PackageError, match=r"^/proc"):
        export_candidate(run, "c001", Path("/proc/none"))


def test_a_package_proves_itself_in_an_environment_that_holds_its_wheels_only(
    package: Path, tmp_path: Path
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    environment = make_environment(package / "requirements.txt", room, lambda _doing: None)
    if not environment.fresh:
        pytest.skip(environment.note)
    code = (
        "import importlib.util as u; print([n for n in ('torch', 'onnxruntime', 'studio') if u.find_spec(n)])"
    )
    done = subprocess.run([*environment.command, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['onnxruntime']"


@pytest.mark.parametrize("uv", [True, False])
def test_without_wheels_the_proof_runs_isolated_and_says_so(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv: bool
) -> None:
    if uv:
        assert installing.find_uv() is not None, "./check leaves one in .uv"
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    if not uv:
        monkeypatch.setattr(installing, "find_uv", lambda: None)
    before = check_folder(package)
    proof = prove(package, PROMPT, SEED)
    assert not proof.environment.fresh
    assert "Not verified in a fresh environment" in proof.environment.note
    np.testing.assert_array_equal(proof.picture, read_picture(package / "golden.png"))
    assert check_folder(package) == before
    hidden = subprocess.run(
        [*proof.environment.command[:-2], "import torch"], capture_output=True, text=True, check=False
    )
    assert "No module named 'torch'" in hidden.stderr


def test_a_package_that_cannot_run_gets_its_own_words_repeated(
    package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    model = next(package.glob("shared_assets/*/decoder.onnx"))
    model.write_bytes(b"nonsense")
    sums.write(package)
    with pytest.raises(ExportError, match=r"cannot make a picture on its own.*decoder\.onnx"):
        prove(package, PROMPT, SEED)


def test_another_picture_is_no_proof(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    proof = prove(package, PROMPT, SEED)
    with pytest.raises(ExportError, match="not the Studio's own"):
        compare(255 - proof.picture, proof)
    with pytest.raises(ExportError, match="16 px"):
        compare(np.zeros((32, 32, 3), np.uint8), proof)


def test_verify_answers_in_checks_for_good_and_bad_packages(package: Path, tmp_path: Path) -> None:
    job = Job(home=tmp_path)
    good = verify(job, str(package))
    assert good["ok"]
    assert all(check["ok"] for check in good["checks"])
    assert good["info"]["name"] == "tiny"
    (package / "run.py").write_text("print('evil')")
    bad = verify(job, str(package))
    assert not bad["ok"]
    assert "run.py was changed" in bad["text"]
    assert not verify(job, str(tmp_path / "absent"))["ok"]
    json.dumps([good, bad])


def test_the_package_goes_where_a_copy_would_go(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = tmp_path / "usual"
    assert place_of(None, usual, "p") == usual / "p"
    assert place_of(tmp_path, usual, "p") == tmp_path / "p"
    assert place_of(tmp_path / "new", usual, "p") == tmp_path / "new"
    assert place_of(package, usual, "p") == package
    monkeypatch.chdir(tmp_path)
    assert place_of(Path("new"), usual, "p") == tmp_path / "new"
    assert place_of(None, Path("usual"), "p") == usual / "p"


def test_looking_at_a_candidate_needs_no_torch(run: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from studio.work.exportable import exportable\n"
        "from studio.work.job import Job\n"
        f"exportable(Job(home=Path({str(run.parents[1])!r})), 'r', 'c002')\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_an_export_onto_a_full_disk_leaves_nothing_half_and_a_second_try_works(
    run: Path, tmp_path: Path
) -> None:
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("this system lets nobody mount")
    with disk(tmp_path / "small") as leave:
        (tmp_path / "small" / "mine").write_bytes(b"years")
        out = tmp_path / "small" / "out"
        for free in (0, 1 << 20, 40 << 20):  # no room, none for the engines, none for the proof's amendment
            leave(free)
            with pytest.raises(PackageError, match=r"is full|MiB free"):
                export_candidate(run, "c001", out)
            assert [path.name for path in (tmp_path / "small").iterdir()] == ["mine"]
        leave(1 << 30)
        size = export_candidate(run, "c001", out)["bytes"]
        shutil.rmtree(out)
        (tmp_path / "small" / "out.pareto").unlink()
        leave(2 * size + (4 << 20))  # room for the folder and its amendment; then for nothing more
        filler = tmp_path / "small" / "filler"
        filler.write_bytes(b"\0" * (size // 2))
        with pytest.raises(PackageError, match=r"is full|MiB free"):
            export_candidate(run, "c001", out)
        assert {path.name for path in (tmp_path / "small").iterdir()} <= {"filler", "mine", "out"}
        if out.exists():
            verify_package(out)
        filler.unlink()
        leave(1 << 30)
        assert verify_package(Path(export_candidate(run, "c001", out)["zip"])).files
