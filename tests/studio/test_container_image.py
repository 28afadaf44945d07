"""An exported container context becomes an image, without a network, that proves itself, draws and serves."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.candidate import Step
from engines.package.runner import read_picture
from studio.work.export_as import export_as
from studio.work.job import Job
from tests.studio.container_builder import Builder, missing
from tests.studio.recorded_run import add, begin

RECIPE = (
    Step("fewer-steps", {"steps": 4}),
    Step("prompt-cache"),
    Step("engine", {"backend": "openvino"}),
)
CUSTOMER = """
import json, signal, subprocess, sys, time, urllib.request

command = json.loads(sys.argv[1])
server = subprocess.Popen(command)
for _ in range(300):
    try:
        health = urllib.request.urlopen("http://127.0.0.1:8000/health").read()
        break
    except OSError:
        time.sleep(0.2)
asked = json.dumps({"prompt": "a red house", "seed": 7}).encode()
request = urllib.request.Request("http://127.0.0.1:8000/v1/images/generations", asked)
request.add_header("Content-Type", "application/json")
answer = json.load(urllib.request.urlopen(request))
networks = [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line]
server.send_signal(signal.SIGTERM)
status = server.wait(10)
print(json.dumps({"health": json.loads(health), "pictures": len(answer["data"]), "status": status,
                  "networks": networks}))
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A container context, written by somebody whose files nobody else may read."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "runs" / "r"
    with begin(folder) as journal:
        add(journal, folder, "c001", RECIPE)
    before = os.umask(0o077)
    try:
        result = export_as(Job(home=home), "r", "container", "c001", str(home / "context"))
    finally:
        os.umask(before)
    exported = Path(result["package"])
    if (exported / "wheels-to-collect.txt").is_file():
        pytest.skip((exported / "wheels-to-collect.txt").read_text())
    return result | {"run": folder}, exported


@pytest.fixture(scope="module")
def builder(
    context: tuple[dict[str, Any], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Builder]:
    """A builder that has the base image that the context asks for."""
    found = Builder(tmp_path_factory.mktemp("images"))
    named = re.search(r"^ARG BASE=(\S+)$", (context[1] / "Dockerfile").read_text(), re.MULTILINE)
    assert named
    try:
        if reason := found.base(named[1]):
            pytest.skip(reason)
        yield found
    finally:
        found.clear()
        shutil.rmtree(found.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def container(builder: Builder, context: tuple[dict[str, Any], Path]) -> str:
    done = builder.build(context[1], "studio-test")
    assert done.returncode == 0, done.stderr
    assert "passed: 100.0 dB" in done.stdout + done.stderr
    return builder.start("studio-test")


def test_the_image_draws_the_picture_that_was_exported(
    builder: Builder, container: str, context: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    result, _ = context
    proof = result["proof"]
    tmp_path.chmod(0o777)
    draw = ["python", "/package/run.py", "--prompt", proof["prompt"], "--seed", str(proof["seed"])]
    drawn = builder.inside(container, [*draw, "--out", "/out/x.png"], "--volume", f"{tmp_path}:/out")
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stderr == ""
    wanted = read_picture(result["run"] / proof["package"])
    assert np.array_equal(read_picture(tmp_path / "x.png"), wanted)


def test_the_image_serves_as_nobody_in_particular_and_stops_when_told(
    builder: Builder, container: str, tmp_path: Path
) -> None:
    about = json.loads(builder.said("inspect", "--type", "image", "studio-test"))["OCIv1"]["config"]
    assert about["User"] == "65532:65532"
    assert [port.removesuffix("/tcp") for port in about["ExposedPorts"]] == ["8000"]
    (tmp_path / "customer.py").write_text(CUSTOMER)
    tmp_path.chmod(0o755)
    served = builder.inside(
        container,
        ["python", "/in/customer.py", json.dumps([*about["Entrypoint"], *about["Cmd"]])],
        "--volume",
        f"{tmp_path}:/in:ro",
    )
    assert served.returncode == 0, served.stderr
    found = json.loads(served.stdout.splitlines()[-1])
    assert found["health"]["status"] == "ok"
    assert (found["pictures"], found["status"], found["networks"]) == (1, 0, ["lo"])


def test_an_image_is_not_made_of_a_changed_package_or_on_another_python(
    builder: Builder, container: str, context: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(context[1], changed)
    golden = changed / "package" / "golden.png"
    golden.write_bytes(golden.read_bytes()[:-1] + b"!")
    done = builder.build(changed, "changed")
    assert done.returncode != 0
    assert "golden.png" in done.stderr
    dockerfile = changed / "Dockerfile"
    dockerfile.write_text(re.sub(r"Python 3\.\d+", "Python 3.9", dockerfile.read_text()))
    done = builder.build(changed, "other")
    assert done.returncode != 0
    assert "The wheels are for Python 3.9 on" in done.stderr
    assert "--build-arg BASE=" in done.stderr
    listed = builder.said("images", "--format", "{{.Name}}")
    assert "changed" not in listed
