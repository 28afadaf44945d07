"""The workflow that builds installers on their own systems: its form, its scripts, and where secrets go."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.packaging.tiny_bundle import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
INSTALLERS = ROOT / ".github" / "workflows" / "installers.yml"


def jobs(workflow: Path = INSTALLERS) -> dict[str, Any]:
    found = YAML(typ="safe").load(workflow)["jobs"]
    assert isinstance(found, dict)
    return found


def test_every_workflow_has_the_form_that_github_publishes() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *WORKFLOWS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("system", ["linux", "windows", "macos"])
def test_each_system_builds_installs_opens_and_removes_its_own_installer(system: str) -> None:
    job = jobs()[system]
    said = "\n".join(step.get("run", "") for step in job["steps"])
    assert job["runs-on"].startswith({"linux": "ubuntu", "windows": "windows", "macos": "macos"}[system])
    for part in (f"packaging/build {system}", "--smoke", "setup --make"):
        assert part in said
    for step in job["steps"]:
        script = step.get("run", "")
        if script and step.get("shell") != "pwsh":
            checked = subprocess.run(
                ["bash", "-n"], input=script, text=True, capture_output=True, check=False
            )
            assert checked.returncode == 0, checked.stderr


def test_secrets_reach_only_the_step_that_makes_files_of_them() -> None:
    for job in jobs().values():
        for step in job["steps"]:
            assert "${{ secrets" not in step.get("run", "")
            uses = [name for name, value in step.get("env", {}).items() if "secrets." in str(value)]
            assert not uses or re.fullmatch(r"python packaging/installers/from_secrets\.py .*", step["run"])
            # What the script reads is what the step gives it, name for name.
            source = (ROOT / "packaging" / "installers" / "from_secrets.py").read_text(encoding="utf-8")
            assert all(f'"{name}"' in source for name in uses)
        assert job["steps"][-1]["run"] == 'rm -rf "$RUNNER_TEMP/signing"'
        assert job["steps"][-1]["if"] == "always()"
