"""Which of a component's variants this machine gets, and why none before it; travels inside the package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from engines.errors import NoVariant, PackageChanged, PackageError
from engines.package import fits
from engines.package.components import THREADS, Component, load
from engines.package.native import native_files
from engines.package.seal import Seal
from engines.package.torch_files import COMPILES


@dataclass(frozen=True, slots=True)
class Choice:
    """The variant that a component got."""

    component: str
    variant: str
    passed_over: tuple[tuple[str, str], ...]
    """Variants that come before it, each with the reason."""
    of: int
    """Variants that there are."""

    def facts(self) -> dict[str, Any]:
        """For `--json`."""
        reasons = [{"variant": name, "reason": reason} for name, reason in self.passed_over]
        return {"variant": self.variant, "of": self.of, "passed_over": reasons}

    @classmethod
    def read(cls, component: str, facts: Mapping[str, Any]) -> Choice:
        """What `facts` wrote.

        Raises:
            KeyError, TypeError, ValueError: it wrote something else.
        """
        passed = tuple((str(one["variant"]), str(one["reason"])) for one in facts["passed_over"])
        return cls(component, str(facts["variant"]), passed, int(facts["of"]))


def order(body: dict[str, Any], asked: str) -> list[str]:
    """A component's variants: those of the name, device or engine that was asked for, then the others."""
    names: list[str] = body["additional_metadata"]["order"]
    first = asked_for(body, asked)
    return first + [name for name in names if name not in first]


def asked_for(body: dict[str, Any], asked: str) -> list[str]:
    """A component's variants of this name, device or engine."""
    names: list[str] = body["additional_metadata"]["order"]
    return [name for name in names if asked in (name, device_of(body, name), name.partition("-")[0])]


def device_of(body: dict[str, Any], variant: str) -> str:
    """What a variant was built for."""
    return str(body["variants"][variant]["executor_info"]["pareto-studio"].get("device", "cpu"))


def choose(
    seal: Seal,
    name: str,
    body: dict[str, Any],
    *,
    device: str,
    native: bool,
    threads: int | None,
    broken: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Component, Choice]:
    """The first variant of a component that this machine can load.

    Args:
        seal: of the package's folder; a variant's files are checked before they are loaded and after.
        device: whose variants are tried first; or a variant's name.
        native: whether machine code may be loaded.
        threads: that an engine may use on a CPU; `None`: as many as it likes.
        broken: variants that were loaded before and are not to be used, with the reason.

    Raises:
        NoVariant: none of them; each reason is said.
        PackageChanged: a file is not as it was made.
    """
    passed: list[tuple[str, str]] = []
    for variant in order(body, device):
        facts = body["variants"][variant]
        engine = dict(facts["executor_info"]["pareto-studio"])
        directory = str(facts["variant_directory"])
        place = seal.folder / directory
        if threads is not None and engine["engine"] in THREADS:
            engine["options"] = engine.get("options", {}) | {THREADS[engine["engine"]]: str(threads)}
        try:
            if variant in broken:
                raise PackageError(broken[variant])
            if engine["engine"] == "aoti":
                fits.check(str(facts.get("compatibility_string") or ""))
            seal.check_within(directory)
            if not native:
                _refuse_native(
                    place, engine, [file["path"] for file in facts["additional_metadata"]["files"]]
                )
            component = load(place, engine)
            seal.check_within(directory)
            return component, Choice(name, variant, tuple(passed), len(body["variants"]))
        except PackageChanged:
            raise
        except PackageError as error:
            passed.append((variant, str(error)))
    raise NoVariant(_none(name, passed))


def _refuse_native(place: Path, engine: dict[str, Any], files: Sequence[str]) -> None:
    """Looks at the files themselves: what the manifest says of them is not asked."""
    found = native_files(
        str(engine["engine"]), str(engine["model_file"]), files, lambda name: (place / name).open("rb")
    )
    if found:
        raise PackageError(
            f"It holds machine code ({', '.join(found)}), which is loaded only if the package is signed and "
            "you give its maker's --key or --certificate, or if you allow it with --allow-native."
        )


def _none(name: str, passed: list[tuple[str, str]]) -> str:
    if len(passed) == 1:
        return passed[0][1]
    if not passed:
        return f"The package has no variant of {name}."
    reasons = " ".join(f"{variant}: {reason}" for variant, reason in passed)
    return f"None of the {len(passed)} variants of {name} runs here. {reasons}"


def sentences(choices: Sequence[Choice]) -> list[str]:
    """What a person is told: which variants run, then every reason why another one does not."""
    names = list(dict.fromkeys(one.variant for one in choices))
    if len(names) == 1:
        runs = [f"Runs {names[0]}."]
    else:
        runs = [
            f"Runs {name} for {', '.join(c.component for c in choices if c.variant == name)}."
            for name in names
        ]
    compiles = [COMPILES] if any(name.startswith("compile-") for name in names) else []
    return (
        (runs if any(one.of > 1 for one in choices) else [])
        + compiles
        + [f"Fell back: {text}" for text in fallbacks(choices)]
    )


def facts_of(choices: Iterable[Choice]) -> dict[str, dict[str, Any]]:
    """By component, for JSON."""
    return {one.component: one.facts() for one in choices}


def fallbacks(choices: Iterable[Choice]) -> list[str]:
    """Variants that could not be loaded here, each with the reason."""
    return [f"{one.component}: {name}: {reason}" for one in choices for name, reason in one.passed_over]
