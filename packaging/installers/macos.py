"""macOS, arm64: an `.app` in a `.zip`, and a `.dmg` where `hdiutil` is.

On a Mac the window is frozen. Elsewhere the `.app` is assembled from Mac wheels and Mac's uv; its launcher
makes the window's environment on the first start. Neither was run on a Mac here.
"""

from __future__ import annotations

import plistlib
import shutil
import subprocess
import sys
from pathlib import Path

import archive
import icon
from signing import notarise, sign, verify
from source import Made, Source, backend, download, template, uv_from_wheel, uv_of_this_system, window_kib
from window import check_imports, freeze, smoke

PLATFORM = "macosx_13_0_arm64"
UV_PLATFORM = "macosx_11_0_arm64"
OLDEST = "14.0"
"""Of mlx; the window itself would open on 13."""


def build(source: Source, work: Path, out: Path) -> Made:
    """The `.zip` (and `.dmg`) in `out`."""
    place = work / "macos"
    shutil.rmtree(place, ignore_errors=True)
    app = place / "Pareto Studio.app"
    drawing = source.folder / "assets" / "icons" / "studio.svg"
    if sys.platform == "darwin":
        place.mkdir(parents=True)
        (place / "studio.icns").write_bytes(icon.icns(drawing))
        shutil.copytree(freeze(source, work, place / "studio.icns"), app, symlinks=True)
        backend(source, app / "Contents" / "Resources" / "backend", uv=uv_of_this_system(), uv_name="uv")
    else:
        _assemble(source, work, app, drawing)
    _describe(source, app)
    archive.set_dates(app, source.epoch)
    said = [sign(app, "macos")]
    if sys.platform == "darwin":
        smoke(source, app / "Contents" / "MacOS" / "pareto-studio")
        verify(app)  # a file that the start had written into it would break the seal
    said.append(notarise(app))
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"pareto-studio-{source.version}-macos-arm64.zip"
    archive.zip_folder(app, target, source.epoch)
    if shutil.which("hdiutil"):
        said += disk_image(app, place / "image", target.with_suffix(".dmg"))
    return Made(said, {"macos": OLDEST})


def disk_image(app: Path, folder: Path, image: Path) -> list[str]:
    """A `.dmg` with the app beside a way to the programs' folder, signed and notarised; sentences."""
    folder.mkdir()
    shutil.copytree(app, folder / app.name, symlinks=True)
    (folder / "Applications").symlink_to("/Applications")
    create = ["hdiutil", "create", "-quiet", "-volname", "Pareto Studio", "-srcfolder", str(folder)]
    subprocess.run([*create, "-format", "UDZO", str(image)], check=True)
    return [
        sign(image, "macos"),
        notarise(image),
        f"{image.name}: a disk image holds the time of its making and is not the same bytes twice.",
    ]


def _assemble(source: Source, work: Path, app: Path, drawing: Path) -> None:
    check_imports(source)
    resources = app / "Contents" / "Resources"
    resources.mkdir(parents=True)
    lock = (source.folder / "packaging" / "window.lock").read_text(encoding="utf-8")
    download(lock, PLATFORM, resources / "wheels")
    shutil.copyfile(source.folder / "packaging" / "window.lock", resources / "window.lock")
    backend(source, resources / "backend", uv=uv_from_wheel(UV_PLATFORM, work), uv_name="uv")
    (resources / "pareto-studio.icns").write_bytes(icon.icns(drawing))
    start = app / "Contents" / "MacOS" / "pareto-studio"
    start.parent.mkdir()
    start.write_text(launcher(source, resources / "wheels"), encoding="utf-8")
    start.chmod(0o755)


def launcher(source: Source, wheels: Path) -> str:
    """The assembled app's program: a script that makes the window's environment and opens it."""
    text = template(source, "macos-start.sh").replace("@VERSION@", source.version)
    return text.replace("@KIB@", str(window_kib(wheels)))


def _describe(source: Source, app: Path) -> None:
    path = app / "Contents" / "Info.plist"
    found = plistlib.loads(path.read_bytes()) if path.exists() else {}
    found.update(
        CFBundleName="Pareto Studio",
        CFBundleDisplayName="Pareto Studio",
        CFBundleExecutable="pareto-studio",
        CFBundleIdentifier="studio.pareto.window",
        CFBundlePackageType="APPL",
        CFBundleShortVersionString=source.version,
        CFBundleVersion=source.version,
        LSMinimumSystemVersion=OLDEST,
        NSHighResolutionCapable=True,
        CFBundleDocumentTypes=[
            {
                "CFBundleTypeName": "Pareto Studio package",
                "CFBundleTypeExtensions": ["pareto"],
                "CFBundleTypeRole": "Viewer",
                "LSHandlerRank": "Owner",
            }
        ],
    )
    found.setdefault("CFBundleIconFile", "pareto-studio.icns")
    path.write_bytes(plistlib.dumps(found, sort_keys=True))
