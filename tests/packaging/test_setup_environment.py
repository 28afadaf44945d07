"""The engines' environment is made, completed, repaired, updated and removed: real uv, tiny wheels."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from studio.errors import Cancelled, SetupError
from studio.record.lock import RunLock
from studio.setup import environment
from studio.setup.__main__ import main as setup_by_command
from studio.setup.uv import UvFailed
from studio.work.proof import make_environment
from tests.engines.test_package_pythons import VERSIONS, python
from tests.packaging.tiny_bundle import Parts, digest, wheel


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


def test_a_wheelhouse_becomes_an_environment_whose_worker_answers(parts: Parts) -> None:
    bundle = parts.bundle()
    assert environment.state(parts.home, bundle).condition == "missing"
    made = parts.setup(bundle).run()
    assert made.condition == "ready"
    assert made.python is not None
    said = subprocess.run(
        [made.python, "-P", "-m", "studio.work.worker"], input="", capture_output=True, text=True, check=True
    )
    assert "worker.ready" in said.stdout
    assert not (parts.folder / "downloads").exists()
    assert environment.state(parts.home, bundle) == made
    stamp = environment.stamp_of(environment.place(parts.folder, bundle))
    assert stamp is not None
    assert stamp.torch == "2.0+tiny"
    assert "Ready." in (parts.folder / "setup.log").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "at",
    [
        "Fetching PyTorch for this machine",
        pytest.param("Making a Python environment", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_setup_goes_on_where_it_stopped(parts: Parts, at: str) -> None:
    bundle = parts.bundle()
    setup = parts.setup(bundle)
    original = parts.steps.append

    class Stopper(list[str]):
        def append(self, step: str) -> None:
            original(step)
            if step == at:
                setup.cancel()

    parts.steps = Stopper()
    with pytest.raises(Cancelled):
        setup.run()
    assert environment.state(parts.home, bundle).condition == "unfinished"
    parts.steps = []
    assert parts.setup(bundle).run().condition == "ready"


def test_a_changed_byte_in_the_wheelhouse_is_refused_before_anything_is_made(parts: Parts) -> None:
    bundle = parts.bundle()
    torch = next(parts.wheelhouse.glob("torch-*"))
    torch.write_bytes(torch.read_bytes()[:-1] + b"?")
    with pytest.raises(SetupError, match=r"torch-2\.0.*does not have its hash; copy the wheelhouse again"):
        parts.setup(bundle).run()
    assert not (parts.folder / "environments").exists()


def test_a_wheel_that_the_lock_does_not_know_is_refused_by_its_hash(parts: Parts) -> None:
    bundle = parts.bundle()
    old = digest(next(parts.wheelhouse.glob("helper-*")))
    new = digest(wheel(parts.wheelhouse, "helper", "1.2", {"helper.py": "import os  # something else\n"}))
    sums = parts.wheelhouse / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(old, new))
    with pytest.raises(SetupError, match="not the one that this program was tested with"):
        parts.setup(bundle).run()
    assert environment.state(parts.home, bundle).condition == "unfinished"


@pytest.mark.parametrize("name", ["torch", "helper"])
def test_a_wheelhouse_that_lacks_a_wheel_is_named_with_it(parts: Parts, name: str) -> None:
    bundle = parts.bundle()
    next(parts.wheelhouse.glob(f"{name}-*")).unlink()
    lines = (parts.wheelhouse / "SHA256SUMS").read_text().splitlines(keepends=True)
    (parts.wheelhouse / "SHA256SUMS").write_text("".join(line for line in lines if f"  {name}-" not in line))
    with pytest.raises(SetupError, match=rf"wheelhouse.*{name}"):
        parts.setup(bundle).run()


def alone(folder: Path, version: str) -> Path:
    """A folder for the path with one Python in it."""
    folder.mkdir()
    program = "import os, sys; print(os.path.realpath(sys.executable))"
    real = subprocess.check_output([python(version), "-c", program], text=True).strip()
    (folder / "python3").symlink_to(real)
    return folder


@pytest.mark.parametrize("version", VERSIONS)
def test_the_environment_is_made_with_whichever_python_is_here(
    parts: Parts, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("PATH", str(alone(parts.base / "bin", version)))
    made = parts.setup(parts.bundle()).run()
    assert made.condition == "ready"
    assert made.python is not None
    assert subprocess.check_output([made.python, "--version"], text=True).startswith(f"Python {version}.")


def test_a_wheelhouse_for_one_python_is_used_with_it_or_says_which_it_needs(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [str(alone(parts.base / version, version)) for version in reversed(VERSIONS)]
    monkeypatch.setenv("PATH", os.pathsep.join(found))
    bundle = parts.bundle()
    sums = parts.wheelhouse / "SHA256SUMS"
    before = sums.read_text()
    for tag in ("cp399", "cp311"):
        extra = wheel(parts.wheelhouse, "extra", "1.0", {"extra.py": ""}, tag=f"{tag}-{tag}-any")
        sums.write_text(f"{before}{digest(extra)}  {extra.name}\n")
        if tag == "cp399":
            with pytest.raises(SetupError, match=r"wheelhouse is for Python 3\.99, which is not here"):
                parts.setup(bundle).run()
            extra.unlink()
    made = parts.setup(bundle).run()
    assert made.python is not None
    assert subprocess.check_output([made.python, "--version"], text=True).startswith("Python 3.11.")


def test_a_folder_that_is_no_wheelhouse_is_named(parts: Parts) -> None:
    bundle = parts.bundle()
    (parts.wheelhouse / "SHA256SUMS").unlink()
    with pytest.raises(SetupError, match="is no wheelhouse"):
        parts.setup(bundle).run()


def test_too_little_space_is_said_before_anything_is_fetched(parts: Parts) -> None:
    parts.space = 1 << 60
    bundle = parts.bundle()
    with pytest.raises(SetupError, match=r"take .* GB and .* GB free; free some space or choose"):
        parts.setup(bundle, network=True).run()
    assert not (parts.folder / "environments").exists()


def test_a_folder_that_cannot_be_written_is_named(parts: Parts) -> None:
    bundle = parts.bundle()
    parts.folder.parent.write_text("a file where a folder should be")
    with pytest.raises(SetupError, match=r"cannot be written .*choose another folder"):
        parts.setup(bundle).run()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="mounting a disk needs root")
def test_a_disk_that_lets_nobody_write_is_named_and_nothing_is_lost(parts: Parts) -> None:
    bundle = parts.bundle()
    made = parts.setup(bundle).run()
    here = str(parts.folder)
    if subprocess.run(["mount", "--bind", here, here], check=False, capture_output=True).returncode:
        pytest.skip("this system lets nobody mount")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", here], check=True)
        with pytest.raises(SetupError, match=r"cannot be written \(Read-only .*choose another folder"):
            parts.setup(bundle).run()
        assert environment.state(parts.home, bundle) == made
    finally:
        subprocess.run(["umount", here], check=True)


def test_two_setups_at_once_do_not_meet(parts: Parts) -> None:
    bundle = parts.bundle()
    environment.prepare(parts.folder)
    with RunLock(parts.folder), pytest.raises(SetupError, match="by another window; wait until"):
        parts.setup(bundle).run()
    assert parts.setup(bundle).run().condition == "ready"


def test_engines_of_another_version_are_updated_and_only_then_removed(parts: Parts) -> None:
    old = parts.setup(parts.bundle()).run()
    assert old.python is not None
    run = parts.home / "runs" / "mine"
    run.mkdir(parents=True)
    parts.version = "1.1"
    parts.torch = "raise ImportError('libcudart.so.13: cannot open shared object file')\n"
    broken = parts.bundle()
    found = environment.state(parts.home, broken)
    assert found.condition == "outdated"
    assert "version 1.0" in found.text
    assert "update" in found.text
    with pytest.raises(SetupError, match=r"do not import .*libcudart.*choose Repair"):
        parts.setup(broken).run()
    assert old.python.exists()
    parts.torch = "__version__ = '2.0'\n"
    new = parts.bundle()
    assert parts.setup(new).run().condition == "ready"
    assert not old.python.exists()
    assert run.exists()


def test_engines_of_another_protocol_are_not_accepted(parts: Parts) -> None:
    parts.protocol = 99
    with pytest.raises(SetupError, match="speak protocol 99 and this window 1"):
        parts.setup(parts.bundle()).run()


@pytest.mark.slow
def test_repair_makes_a_damaged_environment_anew(parts: Parts) -> None:
    bundle = parts.bundle()
    made = parts.setup(bundle).run()
    assert made.python is not None
    for path in made.python.parent.iterdir():
        path.unlink()
    assert environment.state(parts.home, bundle).condition == "damaged"
    assert parts.setup(bundle, fresh=True).run().condition == "ready"


def test_removing_leaves_the_runs_and_what_is_not_ours(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARETO_STUDIO_CACHE", str(parts.base / "cache"))
    bundle = parts.bundle()
    parts.setup(bundle).run()
    kept = [parts.home / "runs" / "mine" / "journal.sqlite", parts.folder / "holiday.jpg"]
    for path in kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("the user's")
    (parts.home / "settings.json").write_text("{}")
    (parts.home / "memory.sqlite").write_bytes(b"what the agent learnt")
    (parts.home / "logs").mkdir()
    (parts.home / "logs" / "commands.log").write_text("what was done")
    environment.remove(parts.home, everything=True)
    left = sorted(path for base in (parts.home, parts.folder) for path in base.rglob("*") if path.is_file())
    assert left == sorted(kept)


def test_by_command_the_wheelhouse_of_the_last_time_is_taken_again(
    parts: Parts, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = parts.bundle()
    made = parts.setup(bundle).run()
    assert made.python is not None
    next(made.python.parents[1].glob("lib/python*/site-packages/helper.py")).unlink()
    asked = ["--home", str(parts.home), "--bundle", str(bundle.folder), "--make", "--fresh"]
    assert setup_by_command(asked) == 0
    said = capsys.readouterr().out
    assert "Checking the hash of torch" in said
    assert "are ready" in said
    assert next(made.python.parents[1].glob("lib/python*/site-packages/helper.py")).exists()


def test_a_package_proves_itself_with_the_programs_uv_and_the_wheelhouse(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UV_CACHE_DIR", "UV_FIND_LINKS", "PARETO_STUDIO_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", os.defpath)  # with no uv of the user's
    bundle = parts.bundle()
    parts.setup(bundle).run()
    for name, value in environment.surroundings(parts.home, bundle).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UV_OFFLINE", "1")
    wanted = parts.base / "requirements.txt"
    wanted.write_text("helper==1.2\n")
    room = parts.base / "room"
    room.mkdir()
    made = make_environment(wanted, room, lambda _: None)
    assert made.fresh, made.note
    assert (parts.base / "user-cache" / "wheels").is_dir()


def test_a_folder_without_our_mark_is_never_removed(parts: Parts) -> None:
    parts.bundle()
    foreign = parts.base / "photos"
    (foreign / "environments").mkdir(parents=True)
    environment.remember(parts.home, foreign)
    environment.remove(parts.home, everything=True)
    assert (foreign / "environments").exists()


def test_a_damaged_program_says_to_install_again(parts: Parts) -> None:
    bundle = parts.bundle()
    bundle.lock.write_text("torch==6.6.6\n")
    with pytest.raises(SetupError, match=r"damaged \(backend\.lock .*install Pareto Studio again"):
        type(bundle)(bundle.folder)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("error: failed to write to file: No space left on device (os error 28)", "space"),
        ("  cause: There is not enough space on the disk. (os error 112)", "space"),
        (
            "error: Failed to fetch: `https://x/`\n  cause: tunnel error: proxy authorization required 407",
            "proxy",
        ),
        ("  cause: invalid peer certificate: UnknownIssuer", "certificate"),
        ("  cause: dns error: failed to lookup address information", "network"),
        ("error: Read-only file system (os error 30)", "rights"),
        (
            "error: No interpreter found for Python >=3.11, <3.14 in managed installations or search path",
            "python",
        ),
        ("error: Hash mismatch for `torch==2.15.0`", "hash"),
    ],
)
def test_what_uv_says_has_a_cause(line: str, cause: str) -> None:
    assert UvFailed(2, line.splitlines()).cause == cause


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="mounting a small disk needs root")
@pytest.mark.slow
@pytest.mark.parametrize("kib", [24, 64, 128, 256, 400])
def test_a_disk_that_fills_up_is_said_and_nothing_is_lost(parts: Parts, kib: int) -> None:
    bundle = parts.bundle()
    parts.folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(parts.folder)],
        check=False,
        capture_output=True,
    )
    if done.returncode:
        pytest.skip("this system lets nobody mount")
    try:
        try:
            made = parts.setup(bundle).run()
        except SetupError as error:
            assert "free" in str(error) or "full" in str(error)  # noqa: PT017 - both sizes of disk
        else:
            assert made.condition == "ready"
        grown = ["mount", "-o", "remount,size=64m", str(parts.folder)]
        subprocess.run(grown, check=True)
        assert parts.setup(bundle).run().condition == "ready"
    finally:
        subprocess.run(["umount", str(parts.folder)], check=True)
