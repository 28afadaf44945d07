"""A bundle and a wheelhouse as an installer carries them, with wheels of a few bytes; uv is real."""

from __future__ import annotations

import base64
import hashlib
import shutil
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from studio.record.protocol import PROTOCOL
from studio.setup.bundle import Bundle, Contents
from studio.setup.make import Order, Setup

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import json, sys
data = {"version": "%s", "protocol": %d, "pid": 1}
print(json.dumps({"v": 1, "seq": 0, "run": "", "time": 0, "type": "worker.ready", "data": data}), flush=True)
sys.stdin.read()
"""


def find_uv() -> Path:
    """The uv that made this environment, as ./start finds it."""
    found = shutil.which("uv")
    places = [Path(found)] if found else []
    places += [ROOT / ".uv" / "bin" / "uv", Path(sys.executable).with_name("uv")]
    return next(path.resolve() for path in places if path.exists())


def wheel(folder: Path, name: str, version: str, files: dict[str, str], tag: str = "py3-none-any") -> Path:
    """A wheel of pure Python, whatever it says it is for."""
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-{tag}.whl"
    content = {
        **files,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = ""
    for inner, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{inner},sha256={digest},{len(text.encode())}\n"
    content[f"{stem}.dist-info/RECORD"] = record + f"{stem}.dist-info/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as archive:
        for inner, text in content.items():
            archive.writestr(zipfile.ZipInfo(inner, (2026, 1, 1, 0, 0, 0)), text)
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Parts:
    """Where everything of one test lies."""

    base: Path
    version: str = "1.0"
    protocol: int = PROTOCOL
    torch: str = "__version__ = '2.0+tiny'\n"
    space: int = 1000
    said: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def folder(self) -> Path:
        """With a space and letters of four scripts, as people have them."""
        return self.base / "Моё 机器 über Ω" / "engines"

    @property
    def wheelhouse(self) -> Path:
        return self.base / "wheel house"

    def bundle(self) -> Bundle:
        """Write wheelhouse and bundle for the present fields."""
        for place in (self.home, self.wheelhouse):
            place.mkdir(parents=True, exist_ok=True)
        backend = self.base / f"backend-{self.version}-{self.protocol}"
        shutil.rmtree(backend, ignore_errors=True)
        backend.mkdir()
        made = {
            "helper": wheel(self.wheelhouse, "helper", "1.2", {"helper.py": f"big = {'x' * 40000!r}\n"}),
            "torch": wheel(self.wheelhouse, "torch", "2.0", {"torch/__init__.py": self.torch}),
            "torchvision": wheel(self.wheelhouse, "torchvision", "0.5", {"torchvision.py": ""}),
        }
        (self.wheelhouse / "SHA256SUMS").write_text(
            "".join(f"{digest(path)}  {path.name}\n" for path in made.values())
        )
        lock = "".join(
            f"{name}=={path.name.split('-')[1]} \\\n    --hash=sha256:{digest(path)}\n"
            for name, path in made.items()
        )
        (backend / "backend.lock").write_text(lock)
        own = wheel(
            backend,
            "pareto-studio",
            self.version,
            {
                "studio/__init__.py": "",
                "studio/work/__init__.py": "",
                "studio/work/worker.py": WORKER % (self.version, self.protocol),
            },
        )
        (backend / "uv").symlink_to(find_uv())
        contents = Contents(
            version=self.version,
            protocol=PROTOCOL,
            lock_sha256=digest(backend / "backend.lock"),
            wheel=own.name,
            wheel_sha256=digest(own),
            imports=("helper", "torch", "studio.work.worker"),
            space=self.space,
            space_cuda=self.space,
        )
        (backend / "bundle.json").write_text(contents.model_dump_json())
        return Bundle(backend)

    def setup(self, bundle: Bundle, *, network: bool = False, fresh: bool = False, proxy: str = "") -> Setup:
        """A setup whose steps and log lines are kept."""
        order = Order(self.folder, None if network else self.wheelhouse, fresh, proxy)
        return Setup(bundle, self.home, order, lambda *step: self.steps.append(step[2]), self.said.append)
