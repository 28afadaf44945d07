"""Run a candidate's script: once by command, or again and again over a pipe.

    python -m engines.harness SCRIPT --model M --prompt P --seed S --out x.png
    python -m engines.harness --serve

With `--serve`, one JSON line per request comes on stdin and one JSON line per
answer goes to a private copy of stdout; an answer to `generate` is followed by
the pictures' bytes.  What the script itself prints goes to stderr.  The
protocol is written down in `docs/architecture.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from engines import census, counted, full_memory
from engines.errors import EngineError, ScriptError
from engines.workload import Workload

Pixels = NDArray[np.uint8]
Evidence = dict[str, Any]
"""`stages` (seconds), `calls`, `rows` by component and `fallbacks`: what the pipeline says about itself."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script that has been read: its two functions."""

    load: Callable[[str, str, Workload], Any]
    generate: Callable[[Any, list[str], list[int]], Any]


def read_script(path: Path) -> Script:
    """Execute a script and take its `load` and `generate`.

    Raises:
        ScriptError: it cannot be read, does not parse, fails while it is
            imported, or lacks one of the two functions.
    """
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptError(
            f"The script {path.name} cannot be read ({error}); give a UTF-8 Python file."
        ) from error
    try:
        code = compile(source, str(path), "exec")
    except (SyntaxError, ValueError) as error:
        where = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ScriptError(f"The script {path.name} does not parse: {text}{where}; correct it.") from error
    module = ModuleType("candidate")
    module.__file__ = str(path)
    sys.modules["candidate"] = module
    _guarded("fails while it is imported", lambda: exec(code, module.__dict__))  # noqa: S102
    functions = {}
    for name in ("load", "generate"):
        function = getattr(module, name, None)
        if not callable(function):
            raise ScriptError(
                f"The script {path.name} has no function {name}; define it as the contract says."
            )
        functions[name] = function
    return Script(**functions)


def _guarded(what: str, action: Callable[[], Any]) -> Any:
    """Run the script's code; anything that it raises becomes a `ScriptError`."""
    try:
        return action()
    except EngineError as error:
        raise ScriptError(f"The script {what}: {error}") from error
    except SystemExit as error:
        raise ScriptError(f"The script {what}: it calls sys.exit({error.code!r}); return instead.") from error
    except Exception as error:
        if full_memory.is_full(error):
            raise ScriptError(f"The script {what}: {full_memory.explained(error)}") from error
        text = str(error).strip().splitlines()
        first = f": {text[0]}" if text else ""
        raise ScriptError(f"The script {what} ({type(error).__name__}{first}); see the traceback.") from error


def check_images(images: object, count: int, size: int | None = None) -> Pixels:
    """The pictures as uint8 (N, H, W, 3) in one piece, videos as (N, F, H, W, 3).

    Raises:
        ScriptError: another type, number, shape or size of pictures.
    """
    if type(images) is not np.ndarray:
        raise ScriptError(
            f"generate returned {type(images).__name__}; return a numpy array (N, H, W, 3) of uint8."
        )
    if images.dtype != np.uint8:
        raise ScriptError(f"generate returned pictures of {images.dtype}; return uint8 from 0 to 255.")
    if images.ndim not in (4, 5) or images.shape[-1] != 3:
        raise ScriptError(
            f"generate returned the shape {images.shape}; return (N, H, W, 3), or (N, F, H, W, 3) for videos:"
            " RGB pictures, channels last."
        )
    if len(images) != count:
        raise ScriptError(
            f"generate returned {len(images)} pictures for {count} prompts; return one for each."
        )
    height, width = images.shape[-3:-1]
    if size is not None and (height, width) != (size, size):
        raise ScriptError(
            f"generate returned pictures of {width}x{height} px; {size}x{size} px were asked for."
        )
    if not height or not width:
        raise ScriptError("generate returned empty pictures; return at least one pixel each.")
    return np.array(images, order="C")  # a copy: nothing fills it in later


def load(script: Script, model: str, device: str, workload: Workload) -> Any:
    """The script's pipeline; raises `ScriptError` for whatever `load` raises."""
    return _guarded("fails in load", lambda: script.load(model, device, workload))


def generate(
    script: Script, pipeline: Any, prompts: list[str], seeds: list[int], size: int | None = None
) -> Pixels:
    """Checked pictures (N, H, W, 3); raises `ScriptError` for whatever `generate` raises or returns wrong."""
    images = _guarded("fails in generate", lambda: script.generate(pipeline, prompts, seeds))
    return check_images(images, len(prompts), size)


def evidence(pipeline: Any) -> Evidence:
    """What a pipeline of `engines` says about its last call; empty for others."""
    last = getattr(pipeline, "last", None)

    def numbers(name: str) -> dict[str, float]:
        found = getattr(last, name, None)
        return {str(key): value for key, value in found.items()} if isinstance(found, Mapping) else {}

    fallbacks = getattr(pipeline, "fallbacks", ())
    return {
        "stages": numbers("seconds"),
        "calls": numbers("calls"),
        "rows": numbers("rows"),
        "broken": list(getattr(last, "broken", ())),
        "fallbacks": [str(text) for text in fallbacks] if isinstance(fallbacks, list | tuple) else [],
    }


class _Server:
    """Answers requests one after the other."""

    def __init__(self) -> None:
        self._script: Script | None = None
        self._pipeline: Any = None
        self._originals: census.Originals | None = None
        # The same two lists carry every request: what a script keeps by pointer comes back wrong.
        self._prompts: list[str] = []
        self._seeds: list[int] = []

    def answer(self, request: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
        """The answer and the bytes that follow it."""
        match request.get("op"):
            case "load":
                started = time.perf_counter()
                workload = Workload.model_validate(request.get("workload", {}))
                self._originals = census.Originals()
                self._script = read_script(Path(request["script"]))
                self._pipeline = load(self._script, request["model"], request["device"], workload)
                return {"ok": True, "seconds": time.perf_counter() - started}, b""
            case "generate":
                if self._script is None:
                    raise ScriptError("No script is loaded; send load before generate.")
                self._prompts[:], self._seeds[:] = request["prompts"], request["seeds"]
                counted.clear()
                images = generate(self._script, self._pipeline, self._prompts, self._seeds)
                _synchronise()
                payload = images.tobytes()
                said = evidence(self._pipeline) | {"components": counted.told()}
                return {"ok": True, "shape": list(images.shape), "bytes": len(payload), **said}, payload
            case "census":
                if self._script is None or self._originals is None:
                    raise ScriptError("No script is loaded; send load before census.")
                script, pipeline = self._script, self._pipeline
                prompts, seeds = request["prompts"], request["seeds"]
                taken, images = census.take(
                    lambda: generate(script, pipeline, prompts, seeds),
                    self._originals,
                    pipeline,
                    request["trace"],
                    request["seal"],
                )
                payload = images.tobytes()
                told = {"shape": list(images.shape), "bytes": len(payload), "census": taken}
                return {"ok": True, **told}, payload
            case other:
                raise ScriptError(f"The request {other!r} is unknown; send load or generate.")


def _synchronise() -> None:
    """Wait for whatever a device still does: work that is put off is part of the time.

    Not verified on device.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    if sys.platform == "darwin" and torch.backends.mps.is_available():
        torch.mps.synchronize()


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer every request line until the stream ends.

    A request may carry a `ticket`, which its answer repeats.
    """
    server = _Server()
    for line in requests:
        ticket: Any = None
        payload = b""
        answer: dict[str, Any]
        try:
            request = json.loads(line)
            ticket = request.get("ticket")
            answer, payload = server.answer(request)
        except ScriptError as error:
            cause = error.__cause__ or error
            answer = {"ok": False, "error": str(error), "traceback": _traceback(cause)}
        except Exception as error:  # noqa: BLE001 - the loop outlives every request
            text = f"The request cannot be served ({type(error).__name__}: {error})."
            answer = {"ok": False, "error": text, "traceback": _traceback(error)}
        if ticket is not None:
            answer["ticket"] = ticket
        answers.write(json.dumps(answer).encode() + b"\n" + payload)
        answers.flush()


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-8000:]


def private_streams() -> tuple[BinaryIO, BinaryIO]:
    """Keep stdin and stdout for the protocol; the script gets an empty stdin, and stderr as stdout."""
    requests, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return os.fdopen(requests, "rb"), os.fdopen(answers, "wb")


def _once(arguments: argparse.Namespace) -> int:
    from engines.package.runner import write_picture

    try:
        workload = Workload.model_validate_json(arguments.workload)
    except ValueError as error:
        raise ScriptError(f"--workload is not a workload ({error}); give its JSON.") from error
    script = read_script(arguments.script)
    pipeline = load(script, arguments.model, arguments.device, workload)
    started = time.perf_counter()
    images = generate(script, pipeline, [arguments.prompt], [arguments.seed], workload.size)
    seconds = time.perf_counter() - started
    try:
        write_picture(images[0], arguments.out)
    except (EngineError, ValueError) as error:
        raise ScriptError(f"{arguments.out} cannot be written ({error}); give a .png path.") from error
    print(f"{arguments.out}: {images.shape[-2]}x{images.shape[-3]} px in {seconds:.2f} s")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when it went well."""
    parser = argparse.ArgumentParser(prog="engines.harness", description="Run a candidate's script.")
    parser.add_argument("script", type=Path, nargs="?", help="the script")
    parser.add_argument("--serve", action="store_true", help="answer requests on stdin")
    parser.add_argument("--model", default="tiny-scenes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workload", default="{}", help="a workload as JSON")
    parser.add_argument("--prompt", default="a red house in the middle, grass, day, clear, flat drawing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("x.png"))
    given = parser.parse_args(arguments)
    if given.serve:
        serve(*private_streams())
        return 0
    if given.script is None:
        parser.error("give a script, or --serve")
    try:
        return _once(given)
    except ScriptError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
