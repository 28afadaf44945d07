"""Packages that older versions of the Studio made are opened, run, extended and signed by today's.

`tests/data/packages` holds one of each schema version, made by the last sources that wrote it, from the small
parts of `package_parts` (of 1.1 and later, the cascade of `cascade_parts`).  Before the schema changes:

    python -m tests.engines.record_package tests/data/packages
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from engines.package import sums
from engines.package.cascade import Cascade
from engines.package.difference import difference
from engines.package.extend import extend, parts_of
from engines.package.manifest import SCHEMA_VERSION
from engines.package.runner import Package, read_picture
from engines.package.sign import new_key, sign
from engines.package.signature import Trust
from engines.package.verify import verify
from tests.engines.package_parts import PROMPT, SEED
from tests.engines.test_package_variants import for_device

RECORDED = Path(__file__).resolve().parents[1] / "data" / "packages"
VERSIONS = ["1.0", "1.1", "1.2", "1.3", "1.4"]


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def package(version: str, tmp_path: Path) -> Path:
    with zipfile.ZipFile(RECORDED / f"schema-{version}.pareto") as archive:
        archive.extractall(tmp_path)
    return next(tmp_path.iterdir())


def test_one_of_every_version_is_recorded() -> None:
    assert {path.stem.removeprefix("schema-") for path in RECORDED.glob("*.pareto")} == set(VERSIONS)
    assert VERSIONS[-1] == SCHEMA_VERSION, "record a package of the version before, and name the new one here"


def test_it_verifies_and_draws_what_it_drew_then(package: Path, version: str) -> None:
    archive = verify(RECORDED / f"schema-{version}.pareto")
    assert archive.manifest.schema_version == version
    assert archive.id == verify(package).id == Package(package).id
    opened = Package(package)
    if opened.facts.get("cascade"):
        found = Cascade(opened).self_test()
        assert found["passed"], found
        return
    np.testing.assert_array_equal(opened.generate([PROMPT], [SEED])[0], read_picture(package / "golden.png"))


def test_its_own_program_still_runs(package: Path) -> None:
    """That of its day, in an environment of today's wheels."""
    command = [sys.executable, "-I", str(package / "run.py"), "--self-test", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed"]
    verify(package)


def test_it_takes_variants_and_a_signature_and_is_of_todays_version_then(
    package: Path, tmp_path: Path
) -> None:
    before = verify(package)
    part = next(part for part in parts_of(package) if part.component == "denoiser")
    extend(package, [for_device(part, "directml")])
    after = verify(package)
    assert after.manifest.schema_version == SCHEMA_VERSION
    assert after.manifest.additional_metadata.golden == before.manifest.additional_metadata.golden
    assert [change.name for change in difference(before, after).variants] == [
        "denoiser onnxruntime-directml-fp32"
    ]
    key, public = new_key(tmp_path / "key.pem")
    sign(package, key)
    signature = verify(package, Trust(key=public)).signature
    assert signature is not None
    assert signature.trusted
    assert sums.MANIFEST in before.digests
