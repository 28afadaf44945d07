"""Candidates on several machines: what makes numbers comparable, and a real cluster that loses a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest

from agent.candidate import Interval, Verdict
from agent.errors import ClusterError
from agent.evaluate import ray_pool
from agent.evaluate.cluster import Ours, here, unfit
from agent.evaluate.worker import About, kind_of_machine
from studio.record.events import Notice
from studio.record.journal import Journal
from studio.record.state import RunState

PICTURES = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3), dtype=np.uint8)
KIND = {"processor": "One Kind", "cores": "8", "torch": "2.15"}
OURS = Ours("abc", KIND, 2.0, PICTURES)
THEIRS = About("far", 1, "abc", KIND, 2.1, PICTURES, "")


def test_a_worker_counts_only_if_it_is_of_the_run_s_kind_and_draws_the_same() -> None:
    assert unfit(OURS, THEIRS) == ""
    assert unfit(OURS, replace(THEIRS, hash="other")) == "its copy of the model is another one"
    assert "its cores is 4 and not 8" in unfit(OURS, replace(THEIRS, kind={**KIND, "cores": "4"}))
    assert "its openvino is 2026 and not missing" in unfit(
        OURS, replace(THEIRS, kind={**KIND, "openvino": "2026"})
    )
    other = 255 - PICTURES
    assert "draws other pictures" in unfit(OURS, replace(THEIRS, pictures=other))


def test_seconds_of_a_worker_are_the_run_s_baseline_over_its_ratio() -> None:
    there = Verdict(
        "passed",
        "gate",
        latency=Interval(0.5, 0.4, 0.6),
        latency_p90=0.7,
        speedup=Interval(8.0, 7.0, 9.0),
        stages={"denoise": 0.4},
        throughput={1: 2.0},
        floor=0.1,
        loss=Interval(0.01, 0.0, 0.02),
        isolation="limited",
    )
    found = here(there, 2.0, "far")
    assert found.latency == Interval(0.25, 2.0 / 9.0, 2.0 / 7.0)
    assert (found.latency_p90, found.floor) == (0.35, 0.05)
    assert (found.stages, found.throughput) == ({"denoise": 0.2}, {1: 4.0})
    assert found.isolation == "limited"  # the worker's, not the run's
    assert (found.speedup, found.loss, found.machine) == (there.speedup, there.loss, "far")
    failed = Verdict("failed", "smoke", "It is black.")
    assert here(failed, 2.0, "far") == replace(failed, machine="far")


@pytest.mark.parametrize(
    "workers", ["local:", "local:0", "local:x", "somewhere", "http//x", "ray://", "ray://h"]
)
def test_what_is_no_cluster_is_refused_before_anything_begins(workers: str) -> None:
    with pytest.raises(ClusterError, match="local:2"):
        ray_pool.check(workers)


def test_two_descriptions_of_this_machine_are_the_same_kind() -> None:
    assert kind_of_machine("cpu") == kind_of_machine("cpu")
    assert int(kind_of_machine("cpu")["cores"]) >= 1


# -- a real cluster ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Nodes:
    """Two nodes on this machine."""

    address: str
    client: str
    """Of the client server."""
    process: subprocess.Popen[str]

    def workers(self) -> list[psutil.Process]:
        """Processes that judge at this moment."""
        found = []
        for one in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if "Worker.judge" in " ".join(one.cmdline()):
                    found.append(one)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    if find_spec("ray") is None:
        pytest.skip("the extra `cluster` is not installed")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.agent.two_nodes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                address, client = json.loads(line)
                break
            except ValueError:
                continue
        else:
            raise AssertionError("the cluster did not start")
        yield Nodes(address, client, process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(120)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["address", "client"])
def test_a_killed_worker_costs_its_candidate_only_and_it_is_tried_again(
    way: str, nodes: Nodes, tmp_path: Path
) -> None:
    """The worker is real and so is its end; what it judges is arithmetic."""
    address = str(getattr(nodes, way))
    command = [sys.executable, "-m", "tests.agent.cluster_driver", address, str(tmp_path / "killed")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert (tmp_path / "killed").exists()
    assert sorted(name for name, *_ in found["told"]) == [f"c{number:03}" for number in range(1, 8)]
    assert {state for _, state, *_ in found["told"]} == {"passed"}
    sent = {words.rpartition("/")[2] for words in found["said"] if "sent to" in words}
    assert sent == {"1", "2"}
    assert len(found["names"]) == 2  # the killed one was started again
    lost = [words for words in found["said"] if "was lost" in words]
    assert len(lost) == 1
    victim = lost[0].split()[0]
    assert sum(words.startswith(f"{victim} static: sent to") for words in found["said"]) == 2
    baseline = {round(ratio * seconds, 6) for _, _, _, ratio, seconds in found["told"]}
    assert len(baseline) == 1  # every machine's seconds are the run's baseline over the ratio
    assert any("ratios hold" in notice for notice in found["notices"])


@pytest.mark.slow
def test_a_run_on_two_nodes_loses_a_worker_and_no_candidate(nodes: Nodes, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "studio", "optimize", "tiny-scenes", "--workers", nodes.address),
        *("--generations", "1", "--population", "4", "--steps", "6", "--no-certify", "--json"),
        *("--out", str(folder), "--home", str(tmp_path / "home")),
    ]
    # A processor each, as the nodes say: with more threads the two judges would wait for one another.
    around = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=around
    ) as run:
        while not (judging := nodes.workers()) and run.poll() is None:
            time.sleep(0.05)
        for victim in judging[:1]:
            victim.kill()
        said, errors = run.communicate()
    assert run.returncode == 0, (said[-3000:], errors[-3000:])
    assert judging, said[-3000:]
    events = list(Journal.read(folder))
    state = RunState.replay(events)
    tried = [one for name, one in state.candidates.items() if name != "c000"]
    assert [one.verdict.state for one in tried if one.verdict is not None] == ["passed"] * 4
    assert {one.verdict.machine.partition("/")[2] for one in tried if one.verdict is not None} == {"1", "2"}
    stages = [str(event.data.get("message", "")) for event in events if event.type == "candidate.stage"]
    assert sum("was lost" in message for message in stages) == 1
    notices = [event.payload() for event in events if event.type == "notice"]
    assert any(isinstance(one, Notice) and "Candidates are judged by" in one.text for one in notices)
    assert state.finished is not None
    assert state.finished.reason == "done"
    for one in tried:
        assert one.verdict is not None
        assert all((folder / sample.image).exists() for sample in one.verdict.samples)
