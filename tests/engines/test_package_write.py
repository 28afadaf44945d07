"""A written package makes the pictures it was made to make, with nothing but its own files."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from engines.errors import PackageError
from engines.package import sums
from engines.package.evidence import Target, Verification
from engines.package.likeness import dhash, differing_bits, max_abs, psnr
from engines.package.manifest import Facts
from engines.package.place import sentences
from engines.package.runner import read_picture
from engines.package.verify import verify
from engines.package.write import amend, pack, program, write
from tests.engines.package_parts import PROMPT, SEED, contents


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    write(contents(folder, request.param), folder / "tiny")
    return folder / "tiny"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write(contents(folder), folder / "tiny")
    return folder / "tiny"


def run(package: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The package's program, isolated, from another folder; warnings are errors in it too."""
    command = [sys.executable, "-I", "-W", "error", str(package / "run.py"), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, cwd=package.parent, timeout=120)


def test_the_program_makes_the_golden_picture(package: Path) -> None:
    done = run(package, "--prompt", PROMPT, "--seed", str(SEED), "--out", "made.png", "--json")
    assert done.returncode == 0, done.stderr
    made = read_picture(package.parent / "made.png")
    np.testing.assert_array_equal(made, read_picture(package / "golden.png"))
    assert json.loads(done.stdout)["calls"]["denoiser"] == 3
    verify(package)  # running it left nothing behind


def test_openvino_does_not_report_to_its_makers_that_a_package_uses_it(small: Path) -> None:
    look = "import engines, openvino.tools.ovc.telemetry_utils as used; print(used.tm.__name__)"
    command = [sys.executable, "-I", "-B", "-c", f"import sys; sys.path.insert(0, {str(small)!r}); {look}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"


def test_drawing_leaves_nothing_behind_and_gives_the_machine_no_id(small: Path, tmp_path: Path) -> None:
    """ONNX Runtime makes one, for its reports, unless it is told not to."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name.startswith("LD_")}
    around = {**kept, "PATH": os.defpath, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-I", "-B", str(small / "run.py"), "--prompt", "a red house", "--out", "x.png"]
    subprocess.run(command, capture_output=True, check=True, cwd=tmp_path, env=around, timeout=120)
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_the_program_uses_the_code_that_travels_with_it(small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(small, copy)
    (copy / "engines" / "hostloop" / "loop.py").unlink()
    sums.write(copy)
    assert b"engines.hostloop.loop" in run(copy, "--self-test").stderr


def test_the_self_test_passes_and_fails_where_the_picture_differs(package: Path, tmp_path: Path) -> None:
    assert run(package, "--self-test").stdout.startswith(b"passed: 100.0 dB")
    copy = tmp_path / "tiny"
    shutil.copytree(package, copy)
    other = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    from PIL import Image

    Image.fromarray(other).save(copy / "golden.png")
    sums.write(copy)
    done = run(copy, "--self-test", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["passed"] is False


def test_the_program_refuses_a_changed_package_before_loading_anything(small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(small, copy)
    model = next(copy.glob("shared_assets/*/decoder.onnx"))
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    done = run(copy, "--prompt", "x")
    assert done.returncode == 1
    assert b"decoder.onnx was changed" in done.stderr
    assert b"Traceback" not in done.stderr


def test_the_program_says_what_it_is(small: Path) -> None:
    told = json.loads(run(small, "--info", "--json").stdout)
    assert told["id"] == verify(small).id
    assert PROMPT in run(small, "--info").stdout.decode()


def test_a_served_package_answers_line_by_line(small: Path) -> None:
    asked = json.dumps({"prompts": [PROMPT, "a blue house"], "seeds": [SEED, 8]})
    done = run(small, "--lines", stdin=f"{asked}\nnonsense\n".encode())
    head, _, rest = done.stdout.partition(b"\n")
    answer = json.loads(head)
    assert answer["shape"] == [2, 16, 16, 3]
    pictures = np.frombuffer(rest[: answer["bytes"]], np.uint8).reshape(answer["shape"])
    np.testing.assert_array_equal(pictures[0], read_picture(small / "golden.png"))
    assert (pictures[0] != pictures[1]).any()
    assert json.loads(rest[answer["bytes"] :])["ok"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no prompt"),
        (("--prompt", "x", "--steps", "0"), "--steps 0"),
        (("--prompt", "x", "--seed", "-1"), "seed"),
        (("--prompt", "x", "--guidance", "nan"), "--guidance nan"),
        (("--prompt", "x", "--route", "light"), "leave --route out"),
        (("--prompt", "x", "--device", "toaster"), "No variant of this package is for toaster"),
        (("--lines", "--threshold", "0.5"), "leave --threshold out"),
        (("--self-test", "--steps", "3"), "go with --prompt only"),
        (("--prompt", "x", "--out", "/proc/none/x.png"), "cannot be written"),
    ],
)
def test_wrong_arguments_get_a_sentence(small: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(small, *arguments)
    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert len(done.stderr.decode().splitlines()) == 1


def test_a_variant_that_cannot_load_falls_back_with_a_reason(tmp_path: Path) -> None:
    whole = contents(tmp_path)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    first = whole.engines[0]
    bad = replace(
        first,
        engine=first.engine.model_copy(update={"model_file": "broken.onnx", "precision": "int8"}),
        files={"broken.onnx": broken},
    )
    write(replace(whole, engines=(bad, *whole.engines)), tmp_path / "tiny")
    done = run(tmp_path / "tiny", "--self-test", "--json")
    told = json.loads(done.stdout)
    assert told["passed"]
    assert "int8" in told["fallbacks"][0]


def test_equal_files_are_stored_once(tmp_path: Path) -> None:
    whole = contents(tmp_path)
    again = replace(whole.engines[0], component="text_encoder_2")
    write(replace(whole, engines=(*whole.engines, again)), tmp_path / "tiny")
    assert len(list((tmp_path / "tiny").glob("shared_assets/*/text_encoder.onnx"))) == 1


def test_adding_a_verification_changes_the_id_and_nothing_else(small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(small, copy)
    before = verify(copy)
    check = Verification(
        time=datetime(2026, 1, 2, tzinfo=UTC),
        target=Target(
            device="cpu", engine="onnxruntime", engine_version="1", system="Linux", machine="x86_64"
        ),
        python="3.11",
        fresh_environment=True,
        psnr=100.0,
        max_abs=0,
        seconds=0.1,
    )

    def add(facts: Facts) -> Facts:
        return facts.model_copy(update={"verified_on": (*facts.verified_on, check)})

    after = amend(copy, add)
    assert after.id != before.id
    assert after.manifest.components == before.manifest.components
    assert after.manifest.additional_metadata.verified_on == (check,)
    assert after.notes == before.notes[:1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiny"]


def test_the_same_package_gives_the_same_zip(small: Path) -> None:
    first = pack(small).read_bytes()
    os.utime(small / "run.py", (0, 10**9))
    assert pack(small).read_bytes() == first


def test_what_exists_is_kept_unless_it_is_a_package_to_replace(tmp_path: Path) -> None:
    whole = contents(tmp_path)
    place = tmp_path / "mine"
    place.mkdir()
    (place / "thesis.txt").write_text("years of work")
    for flag in (False, True):
        with pytest.raises(PackageError, match="exists"):
            write(whole, place, replace=flag)
    assert (place / "thesis.txt").read_text() == "years of work"
    first = write(whole, tmp_path / "tiny")
    with pytest.raises(PackageError, match="exists already"):
        write(whole, tmp_path / "tiny")
    second = write(replace(whole, readme="other"), tmp_path / "tiny", replace=True)
    assert second.id != first.id
    assert not list(tmp_path.glob(".*"))


def test_a_failed_replacement_leaves_the_old_package(tmp_path: Path) -> None:
    whole = contents(tmp_path)
    first = write(whole, tmp_path / "tiny")
    lost = replace(whole.engines[2], files={"decoder.onnx": tmp_path / "absent.onnx"})
    with pytest.raises(PackageError, match="is gone"):
        write(replace(whole, engines=(*whole.engines[:2], lost)), tmp_path / "tiny", replace=True)
    assert verify(tmp_path / "tiny").id == first.id
    assert not list(tmp_path.glob(".*"))


def test_a_place_that_cannot_be_written_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"^/proc.*\.$"):
        write(contents(tmp_path), Path("/proc/none/tiny"))
    (tmp_path / "file").write_text("")
    with pytest.raises(PackageError, match="cannot hold"):
        write(contents(tmp_path), tmp_path / "file" / "tiny")


def test_a_full_disk_gets_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from engines.errors import PackageError\n"
        "from engines.package.write import write\n"
        "from tests.engines.package_parts import contents\n"
        "folder = Path(sys.argv[1]); whole = contents(folder)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write(whole, folder / 'tiny')\n"
        "except PackageError as error: print(error)\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, cwd=root, timeout=120
    )
    assert "is full" in done.stdout, done.stderr
    assert not [entry.name for entry in tmp_path.iterdir() if "tiny" in entry.name]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "full"),
        (errno.EROFS, "may write to"),
        (errno.EACCES, "may write to"),
        (errno.EIO, "hold"),
    ],
)
def test_what_the_file_system_says_becomes_a_sentence(code: int, said: str) -> None:
    with pytest.raises(PackageError, match=said), sentences(Path("/there"), 0):
        raise OSError(code, os.strerror(code))


def test_likeness_is_exact_for_equal_and_forgiving_for_slightly_different_pictures() -> None:
    generator = np.random.default_rng(0)
    ramp = np.linspace(0, 220, 64 * 64).reshape(64, 64, 1)
    picture = (ramp + 30 * generator.random((64, 64, 3))).astype(np.uint8)
    noisy = np.clip(picture + generator.integers(-2, 3, picture.shape), 0, 255).astype(np.uint8)
    other = generator.integers(0, 255, picture.shape, dtype=np.uint8)
    assert psnr(picture, picture) == 100
    assert max_abs(picture, noisy) == 2
    assert 40 < psnr(picture, noisy) < 50
    assert psnr(np.zeros_like(picture), np.full_like(picture, 255)) == 0
    assert differing_bits(dhash(picture), dhash(noisy)) <= 6 < differing_bits(dhash(picture), dhash(other))
    with pytest.raises(ValueError, match="sizes"):
        psnr(picture, picture[:32])


@pytest.mark.parametrize("version", [(3, 10, 13), (3, 14, 0)])
def test_under_another_python_the_program_says_which_it_needs(
    version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.version_info", version)
    with pytest.raises(SystemExit, match=r"needs Python 3\.11, 3\.12 or 3\.13, and this is"):
        exec(program(), {"__file__": __file__})
