"""Which files of a package are programs for the processor; travels inside it (standard library only).

An engine file that was compiled for one card or processor is code, and loading
it is running it: no check of its form makes it safe.  Such files are named,
and loaded only from a maker who is known or when that is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import IO, Final

Open = Callable[[str], AbstractContextManager[IO[bytes]]]

COMPILED: Final = frozenset(
    f".{ending}"
    for ending in (
        "plan", "engine", "trt", "pt2", "so", "dll", "dylib", "pyd", "exe", "blob", "cubin", "ptx",
        "mlmodelc", "pte", "hsaco",
    )
)  # fmt: skip
"""Endings of files and folders that hold machine code: TensorRT, AOTInductor, libraries, OpenVINO and Core ML
compiled ahead, CUDA and AMD kernels, ExecuTorch."""
PICKLES: Final = frozenset([".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill"])
"""Endings of files that run code when Python reads them; no package holds one."""
_CODE: Final = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""First bytes of programs for Linux and macOS."""
_CONTEXT: Final = b"EPContext"
"""The ONNX operator that holds what another compiler made; its name stands in the file as it is."""
_BLOCK: Final = 1 << 20


def native_files(engine: str, model_file: str, files: Iterable[str], open_file: Open) -> tuple[str, ...]:
    """Those of a variant's files that are machine code, sorted.

    Args:
        engine: the runtime that will load them.
        model_file: what it is given; for ONNX Runtime its content is searched for compiled contexts.
        files: paths below the variant's folder.
    """
    found = set()
    for name in files:
        endings = {PurePosixPath(part).suffix.lower() for part in name.split("/")}
        if not COMPILED.isdisjoint(endings):
            found.add(name)
            continue
        with open_file(name) as file:
            if _is_program(file):
                found.add(name)
    if engine in ("tensorrt", "aoti"):
        found.add(model_file)
    elif engine == "onnxruntime" and model_file not in found:
        with open_file(model_file) as file:
            if _holds(file, _CONTEXT):
                found.add(model_file)
    return tuple(sorted(found))


def _is_program(file: IO[bytes]) -> bool:
    head = file.read(64)
    if head[:2] != b"MZ" or len(head) < 64:
        return head.startswith(_CODE)
    file.seek(int.from_bytes(head[60:], "little"))
    return file.read(4) == b"PE\0\0"


def _holds(file: IO[bytes], wanted: bytes) -> bool:
    kept = b""
    while block := file.read(_BLOCK):
        if wanted in kept + block:
            return True
        kept = block[1 - len(wanted) :]
    return False


def is_pickle(name: str) -> bool:
    """By its ending."""
    return PurePosixPath(name).suffix.lower() in PICKLES
