"""The installers for systems that are not here: built, unpacked, and their locks asked for every wheel."""

from __future__ import annotations

import hashlib
import json
import os
import plistlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from studio.setup import lock
from studio.setup.bundle import Contents
from tests.packaging.tiny_bundle import ROOT, find_uv

PACKAGING = ROOT / "packaging"
SYSTEMS: dict[str, dict[str, str]] = {
    "x86_64-unknown-linux-gnu": {},
    "x86_64-pc-windows-msvc": {},
    "aarch64-apple-darwin": {"MACOSX_DEPLOYMENT_TARGET": "14.0"},
}
"""uv's names of the systems that are promised, with the oldest macOS."""

pytestmark = pytest.mark.slow


def build(system: str, out: Path) -> Path:
    """The one installer of a system, built twice with the same bytes; skips where no wheels can be had."""
    command: list[str | Path] = [PACKAGING / "build", system, "--out", out, "--twice"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode and "pip" in made.stderr:
        pytest.skip(f"No wheels can be had here: {made.stderr.strip().splitlines()[-1]}")
    assert made.returncode == 0, made.stderr
    assert "NOT SIGNED" in made.stdout
    assert "The second build has the same bytes." in made.stdout
    (built,) = (one for one in (out / system).iterdir() if one.suffix in {".exe", ".zip"})
    assert f"{digest(built.read_bytes())}  {built.name}" in (out / system / "SHA256SUMS").read_text()
    return built


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def check_parts(files: dict[str, bytes], uv: str, magic: bytes) -> None:
    """What the first run reads is whole, and the window's wheels are those of its lock."""
    contents = Contents.model_validate_json(files["backend/bundle.json"])
    assert digest(files[f"backend/{contents.lock}"]) == contents.lock_sha256
    assert digest(files[f"backend/{contents.wheel}"]) == contents.wheel_sha256
    assert files[f"backend/{uv}"].startswith(magic)
    wheels = {name: content for name, content in files.items() if name.startswith("wheels/")}
    wanted = lock.pins((PACKAGING / "window.lock").read_text())
    assert files["window.lock"].decode() == (PACKAGING / "window.lock").read_text()
    text = {pin.name: pin.text for pin in wanted}
    assert wheels
    for name, content in wheels.items():
        assert digest(content) in text[name.split("/")[1].split("-")[0].replace("_", "-")], name
    assert not any(str(ROOT).encode() in content for name, content in files.items() if name.endswith(".cmd"))


@pytest.mark.skipif(shutil.which("makensis") is None, reason="makensis compiles it: apt install nsis")
@pytest.mark.skipif(shutil.which("7z") is None, reason="7z unpacks it: apt install p7zip-full")
def test_the_windows_installer_compiles_and_holds_what_its_launcher_needs(tmp_path: Path) -> None:
    built = build("windows", tmp_path / "dist")
    tree = tmp_path / "tree"
    subprocess.run(["7z", "x", "-y", f"-o{tree}", built], check=True, capture_output=True)
    files = {
        path.relative_to(tree).as_posix(): path.read_bytes() for path in tree.rglob("*") if path.is_file()
    }
    check_parts(files, "uv.exe", b"MZ")
    assert files["uninstall.exe"].startswith(b"MZ")
    make = files["make-window.cmd"]
    assert make.count(b"\n") == make.count(b"\r\n")
    wheel = json.loads(files["backend/bundle.json"])["wheel"]
    assert f"backend\\{wheel}".encode() in make
    assert all(b"win" in name.encode() or b"-none-any" in name.encode() for name in files if ".whl" in name)


def test_the_mac_app_is_assembled_and_its_launcher_is_a_program(tmp_path: Path) -> None:
    with zipfile.ZipFile(build("macos", tmp_path / "dist")) as archive:
        entries = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        files = {name: archive.read(name) for name in entries}
    base = "Pareto Studio.app/Contents/"
    assert all(name.startswith(base) for name in files)
    described = plistlib.loads(files[f"{base}Info.plist"])
    start = f"{base}MacOS/{described['CFBundleExecutable']}"
    assert entries[start].external_attr >> 16 & 0o111
    assert described["LSMinimumSystemVersion"] == SYSTEMS["aarch64-apple-darwin"]["MACOSX_DEPLOYMENT_TARGET"]
    subprocess.run(["sh", "-n"], input=files[start], check=True)
    parts = {
        name.removeprefix(f"{base}Resources/"): content
        for name, content in files.items()
        if name.startswith(f"{base}Resources/")
    }
    check_parts(parts, "uv", b"\xcf\xfa\xed\xfe")
    assert entries[f"{base}Resources/backend/uv"].external_attr >> 16 & 0o111


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_package_of_the_lock_has_a_wheel_on_every_system(
    tmp_path: Path, system: str, python: str
) -> None:
    pins = lock.pins((PACKAGING / "backend.lock").read_text())
    rest = tmp_path / "rest.txt"
    rest.write_text(lock.written(tuple(pin for pin in pins if not pin.torch_family)))
    wheels = ["--only-binary", ":all:", "--no-deps", "--python-platform", system, "--python-version", python]
    for more in (["--require-hashes", "-r", str(rest)], lock.torch_by_version(pins)):
        asked = subprocess.run(
            [str(find_uv()), "pip", "install", "--dry-run", "--target", str(tmp_path / "x"), *wheels, *more],
            env={**os.environ, **SYSTEMS[system]},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if "error sending request" in asked.stderr or "dns error" in asked.stderr:
            pytest.skip("The package index cannot be reached.")
        assert asked.returncode == 0, asked.stderr[-2000:]


@pytest.mark.parametrize(
    ("runtime", "platform"),
    [
        ("onnxruntime-directml", "x86_64-pc-windows-msvc"),
        ("onnxruntime-windowsml", "x86_64-pc-windows-msvc"),
        ("onnxruntime-cuda", "x86_64-pc-windows-msvc"),
        ("onnxruntime-cuda", "x86_64-unknown-linux-gnu"),
        ("mlx", "aarch64-apple-darwin"),
        ("coreml", "aarch64-apple-darwin"),
    ],
)
def test_a_packages_variant_can_be_installed_where_its_device_is(
    tmp_path: Path, runtime: str, platform: str
) -> None:
    """The very pins that a package ships, for the system that has the device; nothing is installed."""
    wheels = PACKAGING.parent / "assets" / "wheels" / f"{runtime}.txt"
    asked = subprocess.run(
        [str(find_uv()), "pip", "install", "--dry-run", "--target", str(tmp_path / "x"), "--only-binary",
         ":all:", "--python-platform", platform, "--python-version", "3.12", "-r", str(wheels)],
        env={**os.environ, **SYSTEMS[platform]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "error sending request" in asked.stderr or "dns error" in asked.stderr:
        pytest.skip("The package index cannot be reached.")
    assert asked.returncode == 0, asked.stderr[-2000:]
    assert f"{runtime.partition('-')[0]}" in asked.stderr
