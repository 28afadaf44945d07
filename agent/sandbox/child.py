"""Inside a candidate's process: give up what it does not need, then serve its script.

    python -m agent.sandbox.child       a process of its own, spawned ahead
    enter(order) in a forked child      see `forkserver`

An *order* says which folder is the candidate's own, its limits, and which
paths it may read or write beside it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from agent.sandbox import account, landlock, macos, seccomp, windows_token
from agent.sandbox.limits import Isolation

PRELOADED: Final = (
    "numpy",
    "PIL.Image",
    "torch",
    "safetensors.torch",
    "tokenizers",
    "openvino",
    "onnxruntime",
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip",
    "diffusers",
    "diffusers.models.autoencoders.autoencoder_kl",
    "diffusers.models.autoencoders.autoencoder_tiny",
    "diffusers.models.unets.unet_2d_condition",
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "diffusers.schedulers.scheduling_ddim",
    "engines.harness",
    "engines.pipeline",
    "engines.techniques",
)
"""What nearly every script imports: seconds that no candidate has to pay."""

_SYSTEM: Final = (
    "/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/opt", "/nix", "/run/opengl-driver",
    "/dev/urandom", "/dev/random",
    # of /etc what libraries read, and no host keys, password hashes or secrets
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives",
    "/etc/localtime", "/etc/timezone", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/hosts",
    "/etc/os-release", "/etc/mime.types", "/etc/OpenCL", "/etc/vulkan", "/etc/nvidia", "/etc/fonts",
    # of /proc the machine and oneself: other processes' folders hold their environment
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/loadavg",
    "/proc/uptime", "/proc/filesystems", "/proc/devices", "/proc/driver", "/proc/sys/vm", "/proc/sys/kernel",
    "/sys/devices", "/sys/class", "/sys/bus", "/sys/dev", "/sys/module", "/sys/fs/cgroup",
)  # fmt: skip
_SCOPES_SIGNALS: Final = 6
"""Landlock's version that keeps signals inside."""
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/dri", "/dev/kfd", "/dev/accel")
_OWN_PACKAGES: Final = ("engines", "assets")
"""What a script may read of a source tree that this program runs from."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a process is told before it does anything; see `Limits` for the units."""

    folder: str
    limits: dict[str, Any]
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    trusted: bool = False
    """No walls: the program's own code, or a script that its user wants run without."""
    preloaded: tuple[str, ...] = PRELOADED
    card: bool = False
    """NVIDIA's devices may be used."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def preload(names: Sequence[str] = PRELOADED) -> list[str]:
    """Import what scripts need; returns what is not there.  Runs no torch operation."""
    missing = []
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001 - a broken optional engine costs only itself
            missing.append(name)
    return missing


def enter(order: Order) -> Isolation:
    """Limit this process for good; says how far that went.

    It fails closed: a wall that the system offers and then refuses is an error.

    Raises:
        OSError: a wall was refused.
    """
    os.chdir(order.folder)
    for name in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"):
        os.environ[name] = order.folder
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        os.environ[name] = str(Path(order.folder) / "compiled")
    tempfile.tempdir = None
    if os.name != "posix":
        return _enter_windows(order)
    _limit_resources(order.limits)
    if order.trusted:
        return "none"
    if sys.platform == "darwin":
        return "isolated" if macos.walled() else "limited"
    return _enter_linux(order)


def _enter_windows(order: Order) -> Isolation:
    """Job and token were made from outside; here is looked whether they are there."""
    if order.trusted:
        return "none"
    try:
        return "limited" if windows_token.restricted() else "none"
    except OSError:
        return "none"


def _enter_linux(order: Order) -> Isolation:
    """An unprivileged user, then Landlock, then seccomp: each needs what the next forbids."""
    files, calls = landlock.version() > 0, seccomp.available()
    private = _leave_root(order.folder, read_everywhere=files and calls)
    # Without its own user a candidate is counted with everything else that its user runs.
    _limit_processes(order.limits["processes"], alone=private and os.getuid() >= account.FIRST)
    if files:
        _hold("/proc/self")
        readable = [*_SYSTEM, *places(), *order.readable]
        devices = [*_DEVICES, *_graphics()] if order.card else _DEVICES
        landlock.restrict(readable, [*devices, order.folder, *order.writable])
    if calls:
        alone = os.getuid() >= account.FIRST
        signals = alone or landlock.version() >= _SCOPES_SIGNALS
        seccomp.restrict(signals=signals, card=order.card, shared=not alone)
    return "isolated" if files and calls and private else "limited"


def _leave_root(folder: str, *, read_everywhere: bool) -> bool:
    """Whether this process is no root, or no longer."""
    if os.getuid() != 0 and os.geteuid() != 0:
        return True
    try:
        account.leave_root(folder, read_everywhere=read_everywhere)
    except OSError:
        return os.getuid() != 0 and os.geteuid() != 0
    return True


def _hold(path: str) -> None:
    """Keep a folder open: the kernel forgets what was allowed of a process's folder that nobody uses."""
    with suppress(OSError):
        os.open(path, os.O_PATH | os.O_CLOEXEC)


def _graphics() -> list[str]:
    return [str(path) for path in Path("/dev").glob("nvidia*")]


def places() -> set[str]:
    """Paths that every script needs: the interpreter, its packages, this program's, built engines, models."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix}
    for entry in sys.path:
        if not entry:
            continue
        if (Path(entry) / "engines" / "harness.py").exists() and not entry.endswith("-packages"):
            found |= {str(Path(entry) / name) for name in _OWN_PACKAGES}
        else:
            found.add(entry)
    if "PARETO_STUDIO_CACHE" in os.environ:
        found.add(os.environ["PARETO_STUDIO_CACHE"])
    if "HF_HOME" in os.environ:  # the folder beside it holds the hub's token
        found.add(str(Path(os.environ["HF_HOME"]) / "hub"))
    return found


def _limit_resources(limits: dict[str, Any]) -> None:
    """Limits on files, core dumps and processes; memory is watched from outside.

    Address space stays free, because CUDA and engines reserve far more than they use.
    """
    import resource

    def lower(kind: int, value: int) -> None:
        with suppress(ValueError, OSError):
            hard = resource.getrlimit(kind)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_FSIZE, limits["file"] * 2**20)
    lower(resource.RLIMIT_NOFILE, 1024)
    if sys.platform.startswith("linux"):
        with suppress(OSError):  # where memory runs out, the candidate goes first
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
        if not _graphics():  # CUDA reserves far more than it uses
            lower(resource.RLIMIT_DATA, (2 * limits["memory"] + 4096) * 2**20)


def _limit_processes(count: int, *, alone: bool) -> None:
    import resource

    if os.getuid() == 0:
        return  # the limit means nothing to root; the watch outside counts instead
    value = count if alone else _threads_of_user() + count
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (value, value))


def _threads_of_user() -> int:
    """RLIMIT_NPROC counts every thread of the user, not only this process's."""
    import psutil

    mine = os.getuid()
    total = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        if uids is not None and uids.real == mine:
            total += process.info["num_threads"] or 1
    return total


def _own_user() -> int:
    """The user that only this candidate runs as; 0 where there is none."""
    user = os.getuid() if os.name == "posix" else 0
    return user if user >= account.FIRST else 0


def hello(answers: BinaryIO, isolation: Isolation, missing: Sequence[str] = ()) -> None:
    """The first line of the answers: ready, and behind which walls."""
    line = {"ready": True, "isolation": isolation, "user": _own_user(), "missing": list(missing)}
    answers.write(json.dumps(line).encode() + b"\n")
    answers.flush()


def main() -> None:
    """A process spawned ahead: the order is the first line on stdin."""
    from engines.harness import private_streams, serve

    requests, answers = private_streams()
    order = Order(**json.loads(requests.readline()))
    preload(_OWN_PACKAGES)
    isolation = enter(order)
    hello(answers, isolation, preload(order.preloaded))
    serve(requests, answers)


if __name__ == "__main__":
    main()
