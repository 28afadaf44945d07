"""What the Linux window takes from the system, and how old a system may be for the rest.

PyInstaller carries every library of the building system but glibc.  Some of them then ask for that system's
glibc, and some are found in place of the system's own by drivers and desktops that need a newer one.  Those
stay behind here; what a system must have instead is read from the files that are left (pyelftools).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from source import BuildError

GLIB: Final = "libglib2.0-0 | libglib2.0-0t64"
LEFT: Final = {
    "libstdc++.so.6": "libstdc++6",
    "libgcc_s.so.1": "libgcc-s1",
    "libz.so.1": "zlib1g",
    "libexpat.so.1": "libexpat1",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libglib-2.0.so.0": GLIB,
    "libgthread-2.0.so.0": GLIB,
    "libX11.so.6": "libx11-6",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libxcb.so.1": "libxcb1",
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
}
"""Left to the system, which must have them: by name, the Debian package.

As AppImage's excludelist, and GLib, of which a process with the desktop's GTK in it may have one alone.
"""

SPARE: Final = re.compile(
    r"lib(gtk-3|gdk-3|gdk_pixbuf-2\.0|gio-2\.0|gobject-2\.0|gmodule-2\.0|atk-1\.0|cairo|cairo-gobject|pango-1\.0"
    r"|pangocairo-1\.0|pangoft2-1\.0|harfbuzz|drm|wayland-client|wayland-cursor|wayland-egl|Xau|Xdmcp)\.so\.\d+"
)
"""Left to the system, which may have them.

Plugins of Qt ask for them, and Qt goes on without those plugins; for the last two only libxcb asks.
"""

GLIBC: Final = re.compile(r"(ld-linux[-\w]*|lib(c|m|dl|rt|pthread|resolv|util|nsl|crypt))\.so\.\d+")

OLDEST: Final = {"GLIBC": (2, 35), "GLIBCXX": (3, 4, 30), "CXXABI": (1, 3, 13), "GCC": (12, 0, 0)}
"""What Ubuntu 22.04 has; above it the build fails."""


@dataclass(frozen=True)
class Needs:
    """What a system must have for the window to open."""

    glibc: str
    """The oldest, as `2.35`."""
    libraries: dict[str, str]
    """Names of libraries, each with its Debian package or the choice of two."""

    @property
    def depends(self) -> list[str]:
        """As `Depends` of a `.deb`."""
        return [f"libc6 (>= {self.glibc})", *sorted(set(self.libraries.values()))]


@dataclass(frozen=True)
class _Elf:
    needed: frozenset[str]
    """Names of the libraries that it is linked with."""
    versions: frozenset[str]
    """Of symbols, by the library's own words: `GLIBC_2.34`, `GLIBCXX_3.4.30`."""


def leave_out(folder: Path) -> list[str]:
    """Remove what is left to the system, and what only that had needed; the names, sorted."""
    kept = _programs(folder)
    gone = {path for path in kept if path.name in LEFT or SPARE.fullmatch(path.name)}
    while gone:
        orphans = _orphans({path: elf for path, elf in kept.items() if path not in gone}, kept, folder)
        if not orphans - gone:
            break
        gone |= orphans
    for path in gone:
        path.unlink()
    for link in [path for path in folder.rglob("*") if path.is_symlink() and not path.exists()]:
        link.unlink()
    return sorted(path.name for path in gone)


def _orphans(left: dict[Path, _Elf], before: dict[Path, _Elf], folder: Path) -> set[Path]:
    """Libraries of the system, not the program's own, that something needed before and nothing does now."""
    wanted, asked = (frozenset().union(*(elf.needed for elf in of.values())) for of in (left, before))
    return {
        path
        for path in left
        if path.parent == folder / "_internal" and path.name in asked and path.name not in wanted
    }


def asked_by(folder: Path) -> Needs:
    """What the programs and libraries of a folder ask of a system.

    Raises:
        BuildError: more than Ubuntu 22.04 has, or a library that is neither there nor known here.
    """
    programs = _programs(folder)
    carried = {path.name for path in folder.rglob("*")}
    found: dict[str, str] = {}
    glibc = (2, 17)  # what the wheels of any Python ask at least
    for path, elf in programs.items():
        for name in sorted(elf.needed - carried):
            if name in LEFT:
                found[name] = LEFT[name]
            elif not (SPARE.fullmatch(name) or GLIBC.fullmatch(name)):
                raise BuildError(
                    f"{path.name} needs {name}, which is not in the window's folder; install it here, or "
                    "name the package that has it in packaging/installers/libraries.py."
                )
        for said in elf.versions:
            kind, version = _version(said)
            if version > OLDEST.get(kind, version):
                raise BuildError(
                    f"{path.name} needs {said}, and Ubuntu 22.04 ends at {kind}_"
                    f"{'.'.join(map(str, OLDEST[kind]))}; build on an older system, or leave that library "
                    "out in packaging/installers/libraries.py."
                )
            glibc = max(glibc, version) if kind == "GLIBC" else glibc
    return Needs(".".join(map(str, glibc)), dict(sorted(found.items())))


def _version(said: str) -> tuple[str, tuple[int, ...]]:
    if said == "GLIBC_ABI_DT_RELR":  # relative relocations in short form, which 2.36 brought
        return "GLIBC", (2, 36)
    kind, _, number = said.partition("_")
    return kind, tuple(int(part) for part in number.split(".")) if re.fullmatch(r"[\d.]+", number) else ()


def _programs(folder: Path) -> dict[Path, _Elf]:
    """Programs and libraries below a folder; links lead to what is read in its own place."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
            elf = ELFFile(file)
            needed, versions = set(), set()
            for section in elf.iter_sections():
                if isinstance(section, DynamicSection):
                    needed |= {tag.needed for tag in section.iter_tags("DT_NEEDED")}
                elif isinstance(section, GNUVerNeedSection):
                    versions |= {one.name for _, several in section.iter_versions() for one in several}
            found[path] = _Elf(frozenset(needed), frozenset(versions))
    return found
