"""Make the engines' environment: the same steps with a network and from a wheelhouse.

Every step can be repeated: what is there is kept, so an interrupted or failed
setup goes on where it stopped.  The stamp is written last and the environment
of another version is removed only then: until that moment nothing that worked
is lost.
"""

from __future__ import annotations

import datetime as dt
import errno
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from studio.errors import Cancelled, RunLocked, SetupError
from studio.record.lock import RunLock
from studio.record.settings import write_atomically
from studio.setup import environment, wheelhouse
from studio.setup import lock as locks
from studio.setup.bundle import Bundle
from studio.setup.uv import Child, UvFailed
from studio.setup.uv import environment as uv_environment

TRIES: Final = 3
"""How often a step is tried while the network is at fault."""
PAUSE: Final = 3.0
"""Seconds before the second try; twice as many before the third."""
FROM_WHEELS: Final = 2.4
"""Bytes that an environment takes per byte of its wheels; measured, and rounded up."""
SILENT: Final = "import sys; sys.modules['openvino_telemetry'] = None"
"""As in `engines/__init__.py`: what is imported reports to nobody."""
CHECK_LIMIT: Final = 600.0
"""Seconds for the import check; a cold disk reads gigabytes."""

UNREACHED: Final = frozenset({"network", "absent", "certificate", "proxy"})
"""Causes by which PyTorch's own index gives nothing where the general one may."""

OnProgress = Callable[[int, int, str], None]
"""done, total (thousandths), what is being done"""


@dataclass(frozen=True, slots=True)
class Order:
    """What the user chose."""

    folder: Path
    wheelhouse: Path | None = None
    fresh: bool = False
    """Repair: make everything anew, trusting nothing that was downloaded."""
    proxy: str = ""
    torch: str = "auto"
    """What `uv --torch-backend` takes: `auto` looks at the driver."""


class Setup:
    """One order being carried out; `cancel` may be called from another thread."""

    def __init__(
        self, bundle: Bundle, home: Path, order: Order, progress: OnProgress, log: Callable[[str], None]
    ) -> None:
        self._bundle, self._home, self._order = bundle, home, order
        self._tell, self._say = progress, log
        self._child = Child(uv_environment(order.folder, proxy=order.proxy), self._log, self._tick)
        self._log_file = order.folder / "setup.log"
        self._free = 0
        self._step = (0, 0, "")

    def cancel(self) -> None:
        self._child.cancelled.set()

    def run(self) -> environment.State:
        """Carry the order out.

        Raises:
            SetupError: one sentence; what was fetched is kept.
            Cancelled: `cancel` was called; what was fetched is kept.
        """
        folder = self._order.folder
        environment.prepare(folder)
        try:
            with RunLock(folder):
                return self._run()
        except RunLocked as error:
            raise SetupError(
                f"The engines are being set up in {folder} by another window; wait until it has finished."
            ) from error
        except OSError as error:
            raise self._of_system(error) from error

    # -- the steps ------------------------------------------------------------------------------

    def _run(self) -> environment.State:
        order, folder = self._order, self._order.folder
        mine = environment.place(folder, self._bundle)
        self._log(f"== {dt.datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z} {self._bundle.identity}")
        self._at(0, 20, "Looking at the disk")
        if order.fresh:
            shutil.rmtree(mine, ignore_errors=True)
            shutil.rmtree(folder / "downloads", ignore_errors=True)
        pins = locks.pins(self._bundle.lock.read_text(encoding="utf-8"))
        sums = self._wheels()
        self._check_space(mine)
        environment.remember(self._home, folder, order.wheelhouse)
        lists = folder / "downloads"
        lists.mkdir(exist_ok=True)
        mine.parent.mkdir(exist_ok=True)
        (mine / environment.STAMP).unlink(missing_ok=True)

        self._at(100, 120, "Making a Python environment")
        self._make_python(mine, wheelhouse.python_of(sums))
        rest = lists / "packages.txt"
        rest.write_text(locks.written(tuple(pin for pin in pins if not pin.torch_family)), encoding="utf-8")
        self._at(120, 400, "Fetching the engines' packages")
        self._install(mine, "--require-hashes", "--no-deps", "-r", rest)
        self._at(400, 900, "Fetching PyTorch for this machine")
        self._install_torch(mine, pins, sums)
        self._at(900, 920, "Installing the Studio's own part")
        wheel = lists / "studio.txt"
        digest = self._bundle.contents.wheel_sha256
        wheel.write_text(f"{self._bundle.wheel.as_uri()} --hash=sha256:{digest}\n", encoding="utf-8")
        self._install(mine, "--require-hashes", "--no-deps", "-r", wheel)
        self._at(920, 995, "Checking that everything imports")
        torch = self._check(mine)
        stamp = environment.Stamp(
            identity=self._bundle.identity,
            version=self._bundle.contents.version,
            protocol=self._bundle.contents.protocol,
            torch=torch,
        )
        write_atomically(mine / environment.STAMP, stamp.model_dump_json(indent=2) + "\n")
        self._at(995, 1000, "Clearing up")
        environment.remove_others(folder, self._bundle)
        shutil.rmtree(folder / "downloads", ignore_errors=True)
        self._log("Ready.")
        self._at(1000, 1000, "Ready")
        return environment.state(self._home, self._bundle)

    def _wheels(self) -> dict[str, str]:
        if self._order.wheelhouse is None:
            return {}

        def on_file(done: int, total: int, name: str) -> None:
            self._stop_here()
            self._at(20 + 80 * done // max(total, 1), 100, f"Checking the hash of {name}")

        return wheelhouse.check(self._order.wheelhouse, on_file)

    def _check_space(self, mine: Path) -> None:
        folder = self._order.folder
        needed = space_needed(self._bundle, self._order.wheelhouse)
        there = _bytes_in(mine) + _bytes_in(folder / "downloads") if mine.exists() else 0
        free = environment.free(folder)
        self._free = free
        self._log(f"{_gigabytes(needed)} needed, {_gigabytes(there)} there, {_gigabytes(free)} free")
        if free + there < needed:
            raise SetupError(
                f"The engines take {_gigabytes(needed)} and {folder} has {_gigabytes(free)} free; "
                "free some space or choose a folder on another disk."
            )

    def _make_python(self, mine: Path, version: str) -> None:
        python = environment.python_of(mine)
        if python.exists():
            try:
                self._child.run(python, "-I", "-c", "pass", timeout=60)
            except (UvFailed, OSError):
                shutil.rmtree(mine, ignore_errors=True)
            else:
                return
        offline = ["--offline", "--no-python-downloads"] if self._order.wheelhouse is not None else []
        wanted = version or self._bundle.contents.python
        try:
            self._uv("venv", "--no-project", "--clear", *offline, "--python", wanted, mine)
        except SetupError as error:
            cause = error.__cause__
            if not version or not isinstance(cause, UvFailed) or cause.cause != "python":
                raise
            raise SetupError(
                f"The wheelhouse is for Python {version}, which is not here; install that, or make "
                "the wheelhouse on a machine with the Python that this one has."
            ) from error

    def _install(self, mine: Path, *arguments: str | Path) -> None:
        source: list[str | Path] = []
        if self._order.wheelhouse is not None:
            source = ["--offline", "--no-index", "--find-links", self._order.wheelhouse]
        self._uv(
            "pip", "install", "--python", environment.python_of(mine), "--only-binary", ":all:", *source,
            *arguments,
        )  # fmt: skip

    def _install_torch(self, mine: Path, pins: tuple[locks.Pin, ...], sums: dict[str, str]) -> None:
        listed = self._order.folder / "downloads" / "torch.txt"
        family = tuple(pin for pin in pins if pin.torch_family)
        if self._order.wheelhouse is not None:
            listed.write_text(wheelhouse.torch_pins(pins, sums), encoding="utf-8")
            self._install(mine, "--require-hashes", "--no-deps", "-r", listed)
            return
        try:
            self._install(mine, f"--torch-backend={self._order.torch}", *locks.torch_by_version(pins))
        except SetupError as error:
            cause = error.__cause__
            if not isinstance(cause, UvFailed) or cause.cause not in UNREACHED:
                raise
            # Some networks let the package index through and not PyTorch's own.
            self._log("PyTorch's own index did not answer; taking the general build by the lock's hashes.")
            general = self._bundle.contents.space_cuda - self._bundle.contents.space
            if environment.free(self._order.folder) < general:
                raise SetupError(
                    "PyTorch's own index does not answer, and its general build takes "
                    f"{_gigabytes(general)} more than {self._order.folder} has free; free some space."
                ) from error
            self._at(400, 900, "Fetching PyTorch's general build: its own index does not answer")
            listed.write_text(locks.written(family), encoding="utf-8")
            self._install(mine, "--require-hashes", "--no-deps", "-r", listed)

    def _check(self, mine: Path) -> str:
        """Import everything and greet the worker; the version of torch, with its build."""
        python = environment.python_of(mine)
        contents = self._bundle.contents
        try:
            for number, module in enumerate(contents.imports):
                self._at(920 + 60 * number // len(contents.imports), 995, f"Checking that {module} imports")
                self._child.run(python, "-I", "-c", f"{SILENT}; import {module}", timeout=CHECK_LIMIT)
            self._at(980, 995, "Greeting the worker")
            said = self._child.run(
                python, "-P", "-m", "studio.work.worker", "--home", self._order.folder / "downloads",
                timeout=CHECK_LIMIT,
            )  # fmt: skip
            torch = self._child.run(
                python, "-I", "-c", "import torch; print(torch.__version__)", timeout=CHECK_LIMIT
            )
        except UvFailed as error:
            raise SetupError(
                f"The engines were fetched but do not import ({error.last}); choose Repair."
            ) from error
        protocol = _protocol_in(said)
        if protocol != contents.protocol:
            raise SetupError(
                f"The engines speak protocol {protocol} and this window {contents.protocol}; "
                "install Pareto Studio again.",
                again=False,
            )
        return torch[-1].strip() if torch else ""

    # -- uv -------------------------------------------------------------------------------------

    def _uv(self, *arguments: str | Path) -> None:
        certificates: list[str] = []
        for attempt in range(1, TRIES + 1):
            try:
                self._child.run(self._bundle.uv, *certificates, *arguments)
                return
            except UvFailed as error:
                if error.cause == "certificate" and not certificates:
                    # Networks that look inside answer with certificates that only the system knows.
                    certificates = ["--system-certs"]
                    self._log("Trying again with the system's certificates.")
                elif error.cause == "network" and attempt < TRIES:
                    self._log(f"The connection was cut; try {attempt + 1} of {TRIES}.")
                    if self._child.cancelled.wait(PAUSE * attempt):
                        raise Cancelled from None
                else:
                    raise self._sentence(error) from error
            except OSError as error:
                raise SetupError(
                    f"{self._bundle.uv.name} cannot be started ({error.strerror or error}); "
                    "install Pareto Studio again.",
                    again=False,
                ) from error
        raise SetupError(
            "The connection was cut again and again; try again later: it goes on where it stopped."
        )

    def _sentence(self, error: UvFailed) -> SetupError:
        folder = self._order.folder
        match error.cause:
            case "space":
                return SetupError(
                    f"The disk of {folder} is full; free some space and try again: what was fetched is kept."
                )
            case "rights":
                return SetupError(f"{folder} cannot be written ({error.last}); choose another folder.")
            case "proxy":
                return SetupError(
                    "The proxy did not let the download through; check its address, name and password "
                    "(http://name:password@host:port) and try again."
                )
            case "certificate":
                return SetupError(
                    "The network answers with a certificate that neither the program nor this system trusts; "
                    "ask whoever runs the network, or set up from a folder."
                )
            case "network":
                proxy = " If that goes on, check the proxy that is set here." if self._child.has_proxy else ""
                return SetupError(
                    f"The connection was cut; try again: it goes on where it stopped.{proxy} "
                    "Without a network, set up from a folder."
                )
            case "hash":
                return SetupError(
                    f"A package is not the one that this program was tested with ({error.last}); "
                    "try again, or choose Repair."
                )
            case "python":
                return SetupError(
                    "No Python 3.11 to 3.13 was found and none could be fetched; connect to the network, or "
                    "install Python (on Debian and Ubuntu: sudo apt install python3)."
                )
            case "absent":
                where = "The wheelhouse" if self._order.wheelhouse is not None else "The package index"
                return SetupError(f"{where} does not have everything for this machine ({error.last}).")
            case "damaged":
                return SetupError(f"A download is damaged ({error.last}); choose Repair to fetch it anew.")
            case _:
                return SetupError(f"The engines could not be installed ({error.last}); the log has the rest.")

    def _of_system(self, error: OSError) -> SetupError:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return self._sentence(UvFailed(1, ["no space left"]))
        return SetupError(
            f"{error.filename or self._order.folder} cannot be written ({error.strerror or error}); "
            "choose another folder."
        )

    # -- telling --------------------------------------------------------------------------------

    def _at(self, done: int, until: int, doing: str) -> None:
        self._stop_here()
        self._step = (done, until, doing)
        self._tell(done, 1000, doing)

    def _stop_here(self) -> None:
        if self._child.cancelled.is_set():
            raise Cancelled

    def _tick(self) -> None:
        """While uv is silent, the disk says how far it is."""
        done, until, doing = self._step
        try:
            fetched = max(0, self._free - environment.free(self._order.folder))
        except OSError:
            return
        if not 100 <= done < 900 or fetched < 1 << 20:
            return
        total = self._bundle.contents.space_cuda if has_cuda() else self._bundle.contents.space
        reached = min(until - 1, max(done, 100 + round(800 * fetched / total)))
        self._tell(reached, 1000, f"{doing} · {_gigabytes(fetched)} written")

    def _log(self, line: str) -> None:
        self._say(line)
        try:
            with self._log_file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError:
            # A full disk must not hide what is wrong; the line is on its way to the window.
            return


def space_needed(bundle: Bundle, wheels: Path | None) -> int:
    """Bytes that the environment takes, from the network or from a wheelhouse."""
    if wheels is not None:
        return round(FROM_WHEELS * wheelhouse.size(wheels))
    return bundle.contents.space_cuda if has_cuda() else bundle.contents.space


def has_cuda() -> bool:
    """Whether an NVIDIA driver is there, as far as a look at the disk tells."""
    return sys.platform != "darwin" and (
        Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    )


def _protocol_in(lines: list[str]) -> int | None:
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and found.get("type") == "worker.ready":
            value = found.get("data", {}).get("protocol")
            return value if isinstance(value, int) else None
    return None


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*") if folder.exists() else ():
        try:
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
        except OSError:
            continue
    return total


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
