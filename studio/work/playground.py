"""The playground: a prompt of the user's own, drawn by the baseline and by a candidate."""

from __future__ import annotations

import atexit
import secrets
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from studio.errors import RunError
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work.compare import save_picture
from studio.work.consent import agree
from studio.work.job import Job

if TYPE_CHECKING:
    from studio.work.drawing import Drawing

FOLDER: Final = "playground"
WARM: Final = 300.0
"""Seconds that processes are kept for the next prompt."""
LONGEST: Final = 2000
"""Characters of a prompt."""


class _Warm:
    """The drawing that was used last; closed after a while, or when another run is asked for."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._drawing: Drawing | None = None
        self._timer: threading.Timer | None = None

    def of(self, folder: Path, state: RunState) -> Drawing:
        from studio.work.drawing import Drawing

        with self._lock:
            self._keep()
            if self._drawing is None or self._drawing.folder != folder:
                self.close()
                self._drawing = Drawing(folder, state)
            self._drawing.refresh(state)
            return self._drawing

    def release(self) -> None:
        """Begin to count the seconds after which it is closed."""
        with self._lock:
            self._keep()
            self._timer = threading.Timer(WARM, self.close)
            self._timer.daemon = True
            self._timer.start()

    def _keep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        with self._lock:
            self._keep()
            drawing, self._drawing = self._drawing, None
            if drawing is not None:
                drawing.close()


_warm = _Warm()
atexit.register(_warm.close)


def generate(
    job: Job,
    run: str,
    prompt: str,
    candidate: str = "",
    seed: int | None = None,
    baseline: bool = True,
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `generate`: one picture each by the baseline and a candidate.

    Raises:
        RunError: no such run or candidate, an empty or endless prompt, a script that fails.
        JournalError, EngineError: the run cannot be read, or its model is gone.
    """
    agree(without_walls=without_walls)
    words = " ".join(prompt.split())
    if not words or len(words) > LONGEST:
        raise RunError(f"The prompt has {len(words)} characters; write from 1 to {LONGEST}.")
    folder = job.run_folder(run)
    state = RunState.replay(Journal.read(folder))
    chosen = state.candidate(candidate or state.winner or "baseline").id
    number = secrets.randbelow(1 << 31) if seed is None else seed
    names = list(dict.fromkeys(["c000", chosen] if baseline else [chosen]))
    pictures = []
    try:
        drawing = _warm.of(folder, state)
        for done, name in enumerate(names):
            job.progress(done, len(names), f"drawing with {name}")
            answer = drawing.draw(name, [words], [number])
            drawn = answer.images[0]
            end = "/000.png" if drawn.ndim == 4 else ".png"
            file = f"{FOLDER}/{_next(folder / FOLDER):04d}-{name}{end}"
            save_picture(folder / file, drawn)
            pictures.append(
                {
                    "candidate": name,
                    "title": drawing.title(name),
                    "image": file,
                    "seconds": answer.seconds,
                    "stages": dict(answer.stages),
                }
            )
    finally:
        _warm.release()
    return {"run": folder.name, "folder": str(folder), "prompt": words, "seed": number, "pictures": pictures}


def _next(folder: Path) -> int:
    """A number that no picture has yet."""
    taken = [int(path.name[:4]) for path in folder.glob("[0-9][0-9][0-9][0-9]-*")]
    return 1 + max(taken, default=0)
