"""Proof of a cascade's package: both of its models and its discriminator, in an environment of its own."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.package.runner import read_picture
from studio.errors import ExportError
from studio.work.proof import RUN_SECONDS, Environment, Proof, call, last_words, make_environment


@dataclass(frozen=True, eq=False)
class Proofs:
    """A picture of each model, and what the cascade decided on the light one's prompt."""

    light: Proof
    heavy: Proof
    decision: str
    score: float


def prove(
    package: Path, asked: Mapping[str, tuple[str, int]], tell: Callable[[str], None] = lambda _doing: None
) -> Proofs:
    """Let the package make both golden pictures, then decide on the light one.

    Args:
        asked: prompt and seed of `light` and `heavy`.

    Raises:
        ExportError: it cannot, with its own words.
    """
    package = package.absolute()  # what is run next runs elsewhere
    with tempfile.TemporaryDirectory(prefix="pareto-proof-") as name:
        room = Path(name)
        environment = make_environment(package / "requirements.txt", room, tell)
        made = {}
        for role in ("light", "heavy"):
            tell(f"Making the {role} picture on its own")
            made[role] = _picture(package, environment, room, role, *asked[role])[0]
        tell("Letting it decide")
        _, said = _picture(package, environment, room, "auto", *asked["light"])
        answer = said["answers"][0]
        return Proofs(made["light"], made["heavy"], str(answer["decision"]), float(answer["score"]))


def _picture(
    package: Path, environment: Environment, room: Path, route: str, prompt: str, seed: int
) -> tuple[Proof, dict[str, Any]]:
    out = room / f"{route}.png"
    command = [*environment.command, str(package / "run.py"), "--prompt", prompt, "--seed", str(seed)]
    start = time.perf_counter()
    done = call([*command, "--route", route, "--out", str(out), "--json"], RUN_SECONDS, room)
    whole = time.perf_counter() - start
    if done is None or done.returncode != 0 or not out.is_file():
        raise ExportError(f"The package cannot make a picture on its own ({last_words(done)}).")
    said = json.loads(done.stdout.splitlines()[-1])
    proof = Proof(
        picture=read_picture(out),
        seconds=float(sum(said["seconds"].values())),
        whole_seconds=whole,
        fallbacks=tuple(line for line in done.stderr.splitlines() if line.startswith("Fell back")),
        environment=environment,
    )
    return proof, said
