"""The command lines of `verify`, `sign`, `diff` and `package`; imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.layouts import VARIANTS

PACKAGE = "a package's folder or .pareto archive"


def add_package(
    commands: Any, common: argparse.ArgumentParser, add: Callable[[str, str], argparse.ArgumentParser]
) -> None:
    """Everything that is done with a package once it is there, serving aside."""
    verify = add("verify", "check every byte of a package and who signed it, without running anything in it")
    verify.add_argument("package", type=Path, help=PACKAGE)
    verify.add_argument("--key", type=Path, metavar="FILE", help="its maker's public key: refuse any other")
    verify.add_argument(
        "--certificate",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="of an authority: refuse makers whom it does not vouch for; may be given again",
    )

    sign = add("sign", "sign a package with a key or a certificate; its id stays")
    sign.add_argument("package", type=Path, nargs="?", help=PACKAGE)
    sign.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="your private key (PEM); its password in PARETO_STUDIO_KEY_PASSWORD",
    )
    sign.add_argument(
        "--new-key", type=Path, metavar="FILE", help="make a key here, its public half in FILE.pub"
    )
    sign.add_argument("--certificate", type=Path, metavar="FILE", help="that an authority gave for the key")
    sign.add_argument(
        "--chain",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a certificate between yours and the authority's; may be given again",
    )

    diff = add("diff", "say what differs between two packages: recipe, files, numbers")
    diff.add_argument("a", type=Path, help=PACKAGE)
    diff.add_argument("b", type=Path, help="another one")

    _add_variants(commands, common)


def _add_variants(commands: Any, common: argparse.ArgumentParser) -> None:
    text = "change a package that is there"
    package = commands.add_parser("package", help=text, description=text[0].upper() + text[1:] + ".")
    parts = package.add_subparsers(dest="part", metavar="WHAT", required=True)
    text = "put engines for another device or in another precision into a package"
    variant = parts.add_parser(
        "add-variant", help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common]
    )
    variant.add_argument("package", type=Path, help="a package's folder")
    source = variant.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--engine",
        choices=tuple(VARIANTS),
        help="build it from the run that the package was made from",
    )
    source.add_argument(
        "--from",
        dest="other",
        type=Path,
        metavar="PACKAGE",
        help="take the engines of another package of the same model",
    )
    variant.add_argument(
        "--device", default="", help="with --engine: what it is for (default: the engine's first)"
    )
    variant.add_argument(
        "--precision", default="", help="with --engine: fp32, fp16, bf16, int8 (default: the device's)"
    )
    variant.add_argument("--run", default="", help="with --engine: the run, where it has another name by now")
    variant.add_argument("--first", action="store_true", help="try it before those that are there")
