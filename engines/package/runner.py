"""The program of a package: pictures from prompts, without the Studio; travels inside the package.

    python run.py --prompt "a red house" --seed 7 --out house.png
    python run.py --serve --port 8000
    python run.py --info | --self-test | --benchmark | --lines

or, from a program, with `sys.dont_write_bytecode` set and the package's folder on `sys.path`:

    from engines.package.runner import Package
    pictures = Package(folder).generate(["a red house"], [7])    # uint8 (N, H, W, 3)

Every byte of the package is checked before anything is loaded; `--info`, which loads nothing, checks the
manifest.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineError, FallbackWarning, PackageError
from engines.package import components, likeness, signature, sound, sums, variants
from engines.package.benchmark import PICTURES, benchmark, sentence
from engines.package.runtimes import requirements_of
from engines.package.seal import Seal
from engines.package.serving.options import (
    add_arguments,
    add_engine_arguments,
    read_seal,
    run_engine,
    run_server,
    whole,
)
from engines.package.signature import Trust
from engines.package.variants import Choice

if TYPE_CHECKING:
    from engines.package.serving.controller import MakePlanner

Pixels = NDArray[np.uint8]


class Package:
    """An opened package.  Its files are checked when it is opened, its engines loaded when first needed.

    A file that changes after that is checked again before it is used (`engines.package.seal`).

    Raises:
        PackageError: anything but the package that was made; its kinds are `PackageChanged`,
            `SignatureRefused` and `NoVariant` (`engines.errors`).
    """

    def __init__(
        self,
        folder: Path,
        device: str = "",
        *,
        trust: Trust | None = None,
        allow_native: bool = False,
        everything: bool = True,
        handed: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
            device: whose variants are tried first, or the name of one; without it, the manifest's order.
            trust: who must have signed it.
            allow_native: load machine code though nobody who is trusted signed it.
            everything: check every byte now; else the manifest, and the rest before an engine is loaded.
            handed: what the process that started this one has checked (`Seal.hand_on`).
        """
        self.folder = Path(folder)
        self.device = device
        self.trust, self.allow_native = trust, allow_native
        self.threads: int | None = None
        """That an engine may use on a CPU; `None`: as many as it likes."""
        self.seal = Seal(self.folder, handed)
        self.id = self.seal.id
        self._everything = everything
        if everything:
            self.seal.check()
        self.signature = signature.of_folder(self.folder, self.seal.digests, trust)
        self.manifest: dict[str, Any] = json.loads(self.seal.read(sums.MANIFEST))
        self.facts: dict[str, Any] = self.manifest["additional_metadata"]
        self.choices: dict[str, Choice] = {}
        """By component, as they are loaded."""

    @property
    def fallbacks(self) -> list[str]:
        """Variants that could not be loaded here, with the reason."""
        return variants.fallbacks(self.choices.values())

    @cached_property
    def loaded(self) -> dict[str, components.Component]:
        """The components, each by the first variant that this machine can load."""
        return {name: self.load(name, body) for name, body in self.manifest["components"].items()}

    def load(self, name: str, body: dict[str, Any]) -> components.Component:
        """One component, by the first of its variants that this machine can load.

        What makes pictures goes on with the next variant where one makes none (`engines.package.sound`).
        Each variant that is passed over is a `FallbackWarning`.
        """
        if not self._everything:
            self.seal.check()
            self._everything = True
        trusted = self.signature is not None and self.signature.trusted
        broken: dict[str, str] = {}
        warned: set[str] = set()

        def choose() -> components.Component:
            component, self.choices[name] = variants.choose(
                self.seal,
                name,
                body,
                device=self.device,
                native=self.allow_native or trusted,
                threads=self.threads,
                broken=broken,
            )
            for text in variants.fallbacks([self.choices[name]]):
                if text not in warned:
                    warned.add(text)
                    warnings.warn(text, FallbackWarning, stacklevel=2)
            return component

        def other(reason: str) -> components.Component:
            broken[self.choices[name].variant] = reason
            return choose()

        return sound.Sound(choose(), other) if name in sound.LAST else choose()

    @cached_property
    def tokenizers(self) -> dict[str, Any]:
        """By the names that the host loop gives them."""
        return tokenizers(self.seal, self.facts)

    def loop(
        self, *, steps: int | None = None, guidance: float | None = None, batch: int | None = None
    ) -> Any:
        """The host loop (`engines.hostloop.Loop`), with other steps, guidance or largest batch if given."""
        from engines.hostloop import Loop, LoopSettings

        settings = LoopSettings.from_json(self.facts["host_loop"])
        if steps is not None:
            settings = settings.with_steps(steps)
        if guidance is not None:
            settings = replace(settings, guidance=guidance)
        if batch is not None:
            settings = replace(settings, batch=batch)
        return Loop(self.loaded, self.tokenizers, settings)

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Pixels:
        """Pictures, uint8 (N, H, W, 3), of video (N, F, H, W, 3); prompt and seed decide each."""
        made: Pixels = self.loop(steps=steps, guidance=guidance).generate(list(prompts), list(seeds)).images
        return made

    def self_test(self) -> dict[str, Any]:
        """Make the golden picture and compare it with the one that was shipped."""
        golden = self.facts["golden"]
        start = time.perf_counter()
        picture = likeness.sheet(self.loop().generate([golden["prompt"]], [golden["seed"]]).images[0])
        seconds = time.perf_counter() - start
        self.seal.check([golden["image"]])
        expected = read_picture(self.folder / golden["image"])
        alike = likeness.psnr(picture, expected)
        bits = likeness.differing_bits(likeness.dhash(picture), golden["dhash"])
        least, most = self._tolerance()
        return {
            "passed": alike >= least and bits <= most,
            "psnr": alike,
            "max_abs": likeness.max_abs(picture, expected),
            "differing_bits": bits,
            "seconds": seconds,
            "fallbacks": self.fallbacks,
            "variants": variants.facts_of(self.choices.values()),
        }

    def _tolerance(self) -> tuple[float, int]:
        """Least dB and most differing bits of the golden picture, by the coarsest variant that was loaded."""
        golden = self.facts["golden"]
        usual = (float(golden["minimum_psnr"]), int(golden["dhash_tolerance"]))
        found = [usual]
        for name, choice in self.choices.items():
            variant = self.manifest["components"][name]["variants"][choice.variant]
            precision = variant["executor_info"]["pareto-studio"]["precision"]
            if own := golden.get("by_precision", {}).get(precision):
                found.append((float(own["minimum_psnr"]), int(own["dhash_tolerance"])))
        return min(least for least, _ in found), max(most for _, most in found)


def tokenizers(seal: Seal, facts: dict[str, Any]) -> dict[str, Any]:
    """A model's tokenizers by the names that the host loop gives them."""
    from tokenizers import Tokenizer

    paths = dict(facts.get("tokenizers", {}))
    if facts.get("tokenizer"):
        paths["tokenizer"] = facts["tokenizer"]
    seal.check(paths.values())
    return {name: Tokenizer.from_file(str(seal.folder / path)) for name, path in paths.items()}


def read_picture(path: Path) -> Pixels:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


def write_picture(picture: Pixels, path: Path) -> None:
    """Write a PNG under a temporary name, then rename it; of a video an animated one, eight frames a second.

    Raises:
        PackageError: it cannot be written there.
    """
    from PIL import Image

    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        frames = [Image.fromarray(one) for one in (picture if picture.ndim == 4 else picture[np.newaxis])]
        moving: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": 125, "loop": 0}
        frames[0].save(partial, format="PNG", **(moving if len(frames) > 1 else {}))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise PackageError(
            f"{path} cannot be written ({error.strerror or error}); give another --out."
        ) from None


def main(
    folder: Path, arguments: Sequence[str] | None = None, make_planner: MakePlanner | None = None
) -> int:
    """Run the command line; returns the exit status.

    `make_planner` re-plans a served cascade; packages of cascades bring one.
    """
    options = _parser().parse_args(arguments)
    with warnings.catch_warnings(), _answers(options) as answers:
        warnings.simplefilter("ignore", FallbackWarning)  # each way to run it says them in sentences
        return _run(folder, options, answers, make_planner)


@contextmanager
def _answers(options: argparse.Namespace) -> Iterator[IO[bytes] | None]:
    """A private copy of standard output, where answers are bytes: Python's C runtimes print on it too."""
    if not options.lines and not options.engine:
        yield None
        return
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        yield answers


def _run(
    folder: Path,
    options: argparse.Namespace,
    answers: IO[bytes] | None,
    make_planner: MakePlanner | None,
) -> int:
    try:
        package = Package(
            folder,
            options.device,
            trust=signature.trust(options.key, options.certificate),
            allow_native=options.allow_native,
            everything=not options.info,
            handed=read_seal(sys.stdin) if options.sealed else None,
        )
        package.threads = options.threads
        _check(package, options)
        if answers is not None and options.engine:
            run_engine(package, options, answers)
        elif answers is not None:
            from engines.package.lines import answer_lines

            answer_lines(package, options.route, options.threshold, sys.stdin, answers)
        elif options.serve:
            run_server(package, options, make_planner)
        elif options.info:
            _info(package, as_json=options.json)
        elif options.self_test:
            return _self_test(package, as_json=options.json)
        elif options.benchmark is not None:
            _benchmark(package, options.benchmark, as_json=options.json)
        else:
            _generate(package, options)
    except (EngineError, ValueError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    except (KeyError, TypeError) as error:
        print(f"The manifest is not one that this runner knows ({error!r}).", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run.py", description="Makes pictures from prompts.")
    does = parser.add_mutually_exclusive_group()
    does.add_argument("--prompt", action="append", help="what to draw; give it again for more pictures")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the first picture, one more for each next"
    )
    parser.add_argument("--out", type=Path, default=Path("picture.png"), help="PNG; several are numbered")
    parser.add_argument("--steps", type=int, help="other than the package's own")
    parser.add_argument("--guidance", type=float, help="other than the package's own")
    parser.add_argument(
        "--device",
        default="",
        help="try the variants for this device or engine, such as coreml, or the variant of this name first",
    )
    does.add_argument("--info", action="store_true", help="say what this package is")
    does.add_argument("--self-test", action="store_true", help="make the golden picture and compare")
    does.add_argument(
        "--benchmark", type=whole(1, 10_000), nargs="?", const=PICTURES, metavar="N", help="time N pictures"
    )
    does.add_argument("--serve", action="store_true", help="answer over HTTP")
    does.add_argument("--lines", action="store_true", help="answer JSON lines on standard input")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    parser.add_argument(
        "--route", choices=("auto", "light", "heavy"), default="auto", help="of a cascade: who shall draw"
    )
    trust = parser.add_argument_group(
        "trust", "checking a signature needs the wheels model-signing and pyopenssl"
    )
    trust.add_argument(
        "--key", type=Path, metavar="FILE", help="its maker's public key: refuse other packages"
    )
    trust.add_argument(
        "--certificate",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="of an authority: refuse packages of makers whom it does not vouch for; may be given again",
    )
    trust.add_argument(
        "--allow-native", action="store_true", help="load machine code without knowing who made it"
    )
    add_arguments(parser)
    add_engine_arguments(parser)
    return parser


def _check(package: Package, options: argparse.Namespace) -> None:
    """Refuse what would be left out without a word."""
    bodies = package.manifest["components"].values()
    if package.device and not any(variants.asked_for(body, package.device) for body in bodies):
        _refuse(f"No variant of this package is for {package.device}; --info lists those that there are.")
    if not package.facts.get("cascade"):
        if options.route != "auto":
            _refuse("This package is one model; leave --route out.")
        if options.threshold is not None:
            _refuse("This package is one model and has no threshold; leave --threshold out.")
    if options.steps is not None and not 1 <= options.steps <= 1000:
        _refuse(f"--steps {options.steps} makes no sense; give a number from 1 to 1000.")
    if options.guidance is not None and not math.isfinite(options.guidance):
        _refuse(f"--guidance {options.guidance} makes no sense; give a number.")
    other = options.info or options.self_test or options.serve or options.lines
    if (other or options.benchmark is not None) and (options.steps, options.guidance) != (None, None):
        _refuse("--steps and --guidance go with --prompt only; leave them out.")


def _generate(package: Package, options: argparse.Namespace) -> None:
    if not options.prompt:
        _refuse('There is no prompt; give --prompt "what to draw".')
    seeds = [options.seed + at for at in range(len(options.prompt))]
    if package.facts.get("cascade"):
        _answer(package, options, seeds)
        return
    result = package.loop(steps=options.steps, guidance=options.guidance).generate(options.prompt, seeds)
    paths = _paths(options, len(seeds))
    for picture, path in zip(result.images, paths, strict=True):
        write_picture(picture, path)
    if options.json:
        said = {"images": [str(path) for path in paths], "seconds": result.seconds, "calls": result.calls}
        print(json.dumps(said | {"variants": variants.facts_of(package.choices.values())}))
    else:
        print(f"{', '.join(str(path) for path in paths)}: {sum(result.seconds.values()):.2f} s")
    _say_variants(list(package.choices.values()))


def _paths(options: argparse.Namespace, count: int) -> list[Path]:
    if count == 1:
        return [options.out]
    return [options.out.with_stem(f"{options.out.stem}-{at + 1}") for at in range(count)]


def _answer(package: Package, options: argparse.Namespace, seeds: list[int]) -> None:
    """Light or heavy for each prompt; says which, and the score."""
    from engines.package.cascade import Cascade

    if options.steps is not None or options.guidance is not None:
        _refuse(
            "A cascade has the steps and the guidance that its discriminator was trained on; leave them out."
        )
    cascade = Cascade(package)
    told = []
    paths = _paths(options, len(seeds))
    for prompt, seed, path in zip(options.prompt, seeds, paths, strict=True):
        found = cascade.answer(prompt, seed, options.route, options.threshold)
        write_picture(found.picture, path)
        told.append(found)
        if not options.json:
            limit = cascade.threshold if options.threshold is None else options.threshold
            side = "from" if found.decision == "light" else "below"
            why = "asked for" if found.score is None else f"score {found.score:.2f}"
            if found.reason == "score":
                why += f", {side} the threshold {limit:.2f}"
            print(f"{path}: {found.decision} ({why}), {sum(found.seconds.values()):.2f} s")
    if options.json:
        seconds: dict[str, float] = {}
        for found in told:
            for name, value in found.seconds.items():
                seconds[name] = seconds.get(name, 0.0) + value
        answers = [{"decision": one.decision, "reason": one.reason, "score": one.score} for one in told]
        said = {"images": [str(path) for path in paths], "seconds": seconds, "answers": answers}
        print(json.dumps(said | {"variants": variants.facts_of(cascade.choices)}))
    _say_variants(cascade.choices)


def _info(package: Package, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"id": package.id} | package.manifest))
        return
    facts, golden = package.facts, package.facts["golden"]
    print(f"{package.manifest['package_name']}  {facts.get('title', '')}\n{package.id}")
    print(f"model     {facts['source_model']['name']} ({facts['source_model']['licence']})")
    print(f"picture   {facts['output']['width']} x {facts['output']['height']}")
    print(f"engine    {facts['built_for']['engine']} {facts['built_for']['engine_version']}")
    for name, used in _variants_of(package).items():
        print(f"variant   {name}: {', '.join(used)}{_wheels_of(package, name, used[0])}")
    print("checked   names and manifest; the rest is before anything is loaded")
    print(f"signed    {package.signature or 'no: its id says which package it is, not who made it'}")
    for check in facts.get("verified_on", []):
        print(f"verified  {check['time']} on {check['target']['processor'] or check['target']['machine']}")
    print(f'golden    "{golden["prompt"]}", seed {golden["seed"]}')
    if cascade := facts.get("cascade"):
        print(f"cascade   light: {cascade['light']['title']}; heavy: {facts['title']}")
        print(f"threshold {cascade['threshold']:.4g}, {cascade['share']:.0%} deferred")


def _variants_of(package: Package) -> dict[str, list[str]]:
    """Names in the order in which they are tried, each with its components."""
    found: dict[str, list[str]] = {}
    for component, body in package.manifest["components"].items():
        for name in variants.order(body, package.device):
            found.setdefault(name, []).append(component)
    return found


def _wheels_of(package: Package, variant: str, component: str) -> str:
    """Which file installs what a variant needs."""
    body = package.manifest["components"][component]
    engine = body["variants"][variant]["executor_info"]["pareto-studio"]["engine"]
    file = requirements_of(package.facts, engine, variants.device_of(body, variant))
    return f" ({file})" if file else ""


def _say_variants(choices: list[Choice]) -> None:
    for text in variants.sentences(choices):
        print(text, file=sys.stderr)


def _benchmark(package: Package, pictures: int, *, as_json: bool) -> None:
    if package.facts.get("cascade"):
        _refuse("A cascade is as fast as its prompts are easy; time it with --serve and a load of your own.")
    found = benchmark(package, pictures)
    print(json.dumps(found) if as_json else sentence(found))
    if not as_json:
        _say_variants(list(package.choices.values()))


def _self_test(package: Package, *, as_json: bool) -> int:
    if package.facts.get("cascade"):
        from engines.package.cascade import Cascade

        cascade = Cascade(package)
        found, choices = cascade.self_test(), cascade.choices
    else:
        found, choices = package.self_test(), list(package.choices.values())
    if as_json:
        print(json.dumps(found))
    else:
        word = "passed" if found["passed"] else "FAILED"
        print(f"{word}: {found['psnr']:.1f} dB against the golden picture, {found['seconds']:.2f} s")
        _say_variants(choices)
    return 0 if found["passed"] else 1


def _refuse(sentence: str) -> NoReturn:
    raise PackageError(sentence)
