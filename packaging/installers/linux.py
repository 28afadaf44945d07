"""Linux: the window's folder and the backend as a `.deb` and as a self-extracting `.run`."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import time
from pathlib import Path

import archive
import icon
from libraries import Needs, asked_by, leave_out
from signing import sign
from source import Made, Source, backend, build_environment, template, uv_of_this_system
from window import freeze, smoke

SIZES = (48, 64, 128, 256)
DATA = ("xkb-data",)
"""Packages of which the window reads files: the keyboards that the carried libxkbcommon knows."""
MIME = "application/vnd.pareto-studio.package+zip"


def build(source: Source, work: Path, out: Path) -> Made:
    """Both installers in `out`.

    Raises:
        BuildError: they would ask more of a system than `libraries` allows, or their window does not open.
    """
    frozen = freeze(source, work)
    leave_out(frozen)
    program = work / "linux" / "program"
    shutil.rmtree(program.parent, ignore_errors=True)
    shutil.copytree(frozen, program / "window", symlinks=True)
    backend(source, program / "backend", uv=uv_of_this_system(), uv_name="uv")
    smoke(source, program / "window" / "pareto-studio")
    shutil.copyfile(source.folder / "LICENSE", program / "LICENSE")
    needs = asked_by(program)
    out.mkdir(parents=True, exist_ok=True)
    made = [
        deb(source, program, needs, work / "linux" / "deb", out),
        run(source, program, needs, work / "linux" / "run", out),
    ]
    said = [f"A system needs glibc {needs.glibc} or later, and {', '.join(needs.libraries)}."]
    asked = {"glibc": needs.glibc, "libraries": list(needs.libraries)}
    return Made([*said, *(sign(path, "linux") for path in made)], asked)


def desktop_files(source: Source, share: Path, program: str) -> None:
    """Desktop entry, icons and the package's file type below a `share` folder."""
    drawing = source.folder / "assets" / "icons" / "studio.svg"
    apps = share / "icons" / "hicolor"
    for size in SIZES:
        place = apps / f"{size}x{size}" / "apps"
        place.mkdir(parents=True)
        (place / "pareto-studio.png").write_bytes(icon.png(drawing, size))
    (apps / "scalable" / "apps").mkdir(parents=True)
    shutil.copyfile(drawing, apps / "scalable" / "apps" / "pareto-studio.svg")
    for folder, name in (("applications", "pareto-studio.desktop"), ("mime/packages", "pareto-studio.xml")):
        text = template(source, name).replace("@PROGRAM@", program).replace("@MIME@", MIME)
        (share / folder).mkdir(parents=True)
        (share / folder / name).write_text(text, encoding="utf-8")


def deb(source: Source, program: Path, needs: Needs, tree: Path, out: Path) -> Path:
    """Made by `dpkg-deb`; goes to /opt/pareto-studio."""
    shutil.copytree(program, tree / "opt" / "pareto-studio", symlinks=True)
    desktop_files(source, tree / "usr" / "share", "/opt/pareto-studio/window/pareto-studio")
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "usr" / "bin" / "pareto-studio").symlink_to("/opt/pareto-studio/window/pareto-studio")
    doc = tree / "usr" / "share" / "doc" / "pareto-studio"
    doc.mkdir(parents=True)
    shutil.copyfile(source.folder / "LICENSE", doc / "copyright")
    control = tree / "DEBIAN"
    control.mkdir()
    size = sum(path.stat().st_size for path in archive.walk(tree) if path.is_file() and not path.is_symlink())
    architecture = "arm64" if os.uname().machine == "aarch64" else "amd64"
    (control / "control").write_text(
        f"Package: pareto-studio\nVersion: {source.version}\nArchitecture: {architecture}\n"
        "Maintainer: Pareto Studio <packages@pareto-studio.invalid>\n"
        f"Installed-Size: {size // 1024}\nDepends: {', '.join([*needs.depends, *DATA])}\n"
        "Recommends: python3 (>= 3.11), fonts-dejavu-core\n"
        "Section: graphics\nPriority: optional\n"
        "Description: makes a diffusion model fast on your machine\n"
        " and shows what the speed costs in quality. The engines are fetched on first run.\n",
        encoding="utf-8",
    )
    for name in ("preinst", "postinst", "prerm", "postrm"):
        script = template(source, f"deb-{name}.sh").replace("@KIB@", str(size // 1024))
        (control / name).write_text(script, encoding="utf-8")
        (control / name).chmod(0o755)
    archive.set_dates(tree, source.epoch)
    target = out / f"pareto-studio_{source.version}_{architecture}.deb"
    subprocess.run(
        [
            "dpkg-deb",
            "--root-owner-group",
            "-Zzstd",
            "-z10",
            "--threads-max=1",
            "--build",
            str(tree),
            str(target),
        ],
        check=True,
        env=build_environment(source),
        stdout=subprocess.DEVNULL,
    )
    return target


def run(source: Source, program: Path, needs: Needs, tree: Path, out: Path) -> Path:
    """A shell script with a gzipped tar behind it; goes to the user's own folders."""
    shutil.copytree(program, tree, symlinks=True)
    desktop_files(source, tree / "share", "@PROGRAM@")
    uninstall = tree / "uninstall"
    uninstall.write_text(template(source, "run-uninstall.sh"), encoding="utf-8")
    uninstall.chmod(0o755)
    archive.set_dates(tree, source.epoch)
    packed = io.BytesIO()
    archive.tar(tree, packed, source.epoch)
    payload = packed.getvalue()
    size = sum(path.stat().st_size for path in archive.walk(tree) if path.is_file() and not path.is_symlink())
    values = {
        "@VERSION@": source.version,
        "@SHA256@": hashlib.sha256(payload).hexdigest(),
        "@KIB@": str(size // 1024 + 1),
        "@GLIBC@": needs.glibc,
        "@LIBRARIES@": " ".join(
            f"{name}:{package.partition(' | ')[0]}" for name, package in needs.libraries.items()
        ),
        "@DATE@": time.strftime("%Y-%m-%d", time.gmtime(source.epoch)),
    }
    head = template(source, "run-install.sh")
    for name, value in values.items():
        head = head.replace(name, value)
    # The header says how long it is, in a field of fixed width.
    head = head.replace("@LENGTH@", f"{len(head.encode()):08d}")
    target = out / f"pareto-studio-{source.version}-linux-{os.uname().machine}.run"
    target.write_bytes(head.encode() + payload)
    target.chmod(0o755)
    return target
