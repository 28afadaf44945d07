"""The sandbox against scripts that misbehave: each costs only itself, with one clear sentence."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from agent.sandbox import CandidateFailure, Limits, Nursery, Process, landlock
from agent.sandbox.nursery import Method
from engines.workload import Workload

LIMITS = Limits(memory=400, load_seconds=120, generate_seconds=120, output=4, file=8)
LIGHT = ("numpy", "engines.harness")
GOOD = """
import numpy as np
def load(model, device, workload):
    return np.float32(7)
def generate(pipeline, prompts, seeds):
    out = np.zeros((len(prompts), 8, 8, 3), np.uint8)
    out[:] = np.array(seeds, np.uint8)[:, None, None, None]
    return out
"""


LEAK = "keep = [np.ones(10_000_000) for _ in range(1000)]"
FORGERY = """import os
    for number in range(3, 40):
        try:
            os.write(number, b'{}\\n' * 9)
        except OSError:
            pass
    return out"""


@pytest.fixture(scope="module", params=["fork", "spawn"])
def nursery(request: pytest.FixtureRequest) -> Iterator[Nursery]:
    if request.param == "fork" and not hasattr(os, "fork"):
        pytest.skip("no fork on this system")
    with Nursery(LIMITS, method=request.param, preloaded=LIGHT) as made:
        yield made


@pytest.fixture(scope="module")
def forks() -> Iterator[Nursery]:
    if not os.uname().sysname.startswith("Linux"):
        pytest.skip("the forkserver is for Linux")
    with Nursery(LIMITS, method="fork", preloaded=LIGHT) as made:
        yield made


def run(nursery: Nursery, source: str, prompts: int = 1) -> tuple[Process, np.ndarray]:
    process = nursery.start()
    try:
        script = process.folder / "script.py"
        script.write_text(source)
        process.load(script, "tiny-scenes", "cpu", Workload())
        return process, process.generate(["a red ball"] * prompts, list(range(prompts))).images
    except BaseException:
        process.close()
        raise


def failure(nursery: Nursery, source: str) -> CandidateFailure:
    with pytest.raises(CandidateFailure) as caught:
        run(nursery, source)
    text = str(caught.value)
    assert text.endswith("."), text
    assert "\n" not in text
    assert len(text) < 250
    process, images = run(nursery, GOOD)  # the next candidate is unharmed
    assert images.shape == (1, 8, 8, 3)
    process.close()
    return caught.value


def test_a_good_script_answers_with_its_pictures_and_says_its_isolation(nursery: Nursery) -> None:
    process, images = run(nursery, GOOD, prompts=3)
    with process:
        assert images[:, 0, 0, 0].tolist() == [0, 1, 2]
        assert process.isolation == ("isolated" if landlock.version() >= 4 else "limited")
        assert nursery.level.startswith("Candidates run in processes of their own")
        assert process.peak > 20


def test_who_builds_engines_may_write_larger_files_than_a_candidate(nursery: Nursery) -> None:
    """SD 1.5's denoiser is 3.2 GiB in one file."""
    source = GOOD.replace("return out", "open('engine.bin', 'wb').write(bytes(12_000_000))\n    return out")
    with pytest.raises(CandidateFailure, match="File too large"):
        run(nursery, source)
    with nursery.start(trusted=True, limits=replace(LIMITS, file=16 * LIMITS.file)) as builder:
        script = builder.folder / "script.py"
        script.write_text(source)
        builder.load(script, "tiny-scenes", "cpu", Workload())
        builder.generate(["a red ball"], [1])
        assert (builder.folder / "engine.bin").stat().st_size == 12_000_000


def test_pictures_that_the_pipeline_calls_broken_are_no_pictures(nursery: Nursery) -> None:
    """What is no number was drawn black: the rest of the picture would pass for one."""
    source = GOOD.replace("np.float32(7)", "SimpleNamespace(last=SimpleNamespace(broken=(1,)))")
    source = f"from types import SimpleNamespace\n{source}"
    with pytest.raises(CandidateFailure, match=r"1 of 2 pictures hold values that are not finite"):
        run(nursery, source, prompts=2)


BROKEN = (
    ("def load(:", "does not parse"),
    ("x = 1", "no function load"),
    ("import no_such_module", "fails while it is imported"),
    ("import sys; sys.exit(3)", "sys.exit"),
    ("import os; os._exit(3)", "exit code 3"),
    ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    (GOOD.replace("return out", "return out[:0]"), "0 pictures for 1 prompt"),
    (GOOD.replace("return out", "return out.astype('float32')"), "uint8"),
    (GOOD.replace("return out", "return out[..., 0]"), "shape"),
    (GOOD.replace("return out", "return [out]"), "list"),
    (GOOD.replace("return out", "raise ValueError('too\\nbad')"), "ValueError: too"),
    (GOOD.replace("return out", "while True: print('x' * 100000)"), "printed more than 4 MiB"),
    (GOOD.replace("return out", LEAK), "out of memory: more than 400 MiB"),
    (GOOD.replace("return out", FORGERY), "protocol"),
)
BY_PROCESS = {"exit code 3", "SIGSEGV", "ValueError: too", "out of memory: more than 400 MiB", "protocol"}
"""Where it matters how the process was started; the rest is said by the same code in either."""
USUAL = "fork" if hasattr(os, "fork") else "spawn"


@pytest.mark.parametrize(
    ("nursery", "source", "said"),
    [
        pytest.param(
            method, *one, marks=[] if method == USUAL or one[1] in BY_PROCESS else [pytest.mark.slow]
        )
        for method in ("fork", "spawn")
        for one in BROKEN
    ],
    indirect=["nursery"],
)
def test_a_script_that_breaks_its_contract_costs_only_itself(
    nursery: Nursery, source: str, said: str
) -> None:
    assert said in str(failure(nursery, source))


def test_a_script_that_hangs_is_ended_at_its_limit(forks: Nursery) -> None:
    process = forks.start()
    with process:
        script = process.folder / "script.py"
        script.write_text(GOOD.replace("return out", "while True: pass"))
        process.load(script, "tiny-scenes", "cpu", Workload())
        object.__setattr__(process.limits, "generate_seconds", 1.0)
        started = time.monotonic()
        try:
            with pytest.raises(
                CandidateFailure, match="did not finish generate within its time limit of 1 s"
            ):
                process.generate(["a"], [1])
        finally:
            object.__setattr__(process.limits, "generate_seconds", 120.0)
        assert time.monotonic() - started < 5
        assert not process.alive


def test_the_failure_keeps_the_scripts_own_words(forks: Nursery) -> None:
    caught = failure(forks, "print('last words')\nraise KeyError('gone')")
    assert "last words" in caught.evidence
    assert "KeyError: 'gone'" in caught.evidence


ORPHAN = """import os, time
    pid = os.fork()
    if not pid:
        os.setsid()
        if os.fork():
            os._exit(0)
        time.sleep(600)
    os.wait()
    return out"""


def test_children_that_a_script_leaves_behind_are_ended(forks: Nursery) -> None:
    source = GOOD.replace("return out", ORPHAN)
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    process, _ = run(forks, source)
    process.close()
    forks.sweep()
    time.sleep(0.2)
    left = [
        p for p in psutil.Process().children(recursive=True) if p.pid not in before and p.status() != "zombie"
    ]
    assert left == []


@pytest.mark.skipif(landlock.version() < 4, reason="this kernel cannot wall off files and network")
@pytest.mark.parametrize(
    "attempt",
    [
        "open({secret!r}).read()",
        "open({secret!r}, 'a')",
        "__import__('os').listdir({folder!r})",
        "__import__('socket').create_connection(('127.0.0.1', 9), 1)",
        "__import__('os').kill({pid}, 0)",
    ],
)
def test_files_network_and_other_processes_are_out_of_reach(
    forks: Nursery, tmp_path: Path, attempt: str
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("reference")
    code = attempt.format(secret=str(secret), folder=str(tmp_path), pid=os.getpid())
    assert "PermissionError" in str(failure(forks, code))


def test_no_key_of_the_user_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    with Nursery(LIMITS, preloaded=LIGHT) as fresh:
        names = ("HF_HUB_OFFLINE", "SOME_API_KEY", "PARETO_STUDIO_CACHE")
        source = "import os\n" + GOOD.replace(
            "return out", f"raise ValueError([name for name in {names} if name in os.environ])"
        )
        text = str(failure(fresh, source))
    assert "['HF_HUB_OFFLINE', 'PARETO_STUDIO_CACHE']" in text


def test_a_process_from_the_nursery_runs_torch_openvino_and_onnxruntime_within_a_second() -> None:
    source = """
import numpy as np
def load(model, device, workload):
    import io, torch, openvino, onnxruntime
    from torch import nn
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, 3, 3, padding=1)).eval()
    return torch, openvino, onnxruntime, net
def generate(pipeline, prompts, seeds):
    torch, openvino, onnxruntime, net = pipeline
    x = torch.randn(2, 3, 256, 256)
    with torch.inference_mode():
        expected = net(x).numpy()
    from openvino import opset13 as ops
    p = ops.parameter([2, 3, 256, 256], np.float32)
    k = ops.constant(net[0].weight.detach().numpy())
    model = openvino.Model([ops.relu(ops.convolution(p, k, [1, 1], [1, 1], [1, 1], [1, 1]))], [p])
    compiled = openvino.Core().compile_model(model, "CPU")
    assert compiled(x.numpy())[0].shape == (2, 32, 256, 256)
    import onnx
    from onnx import helper, TensorProto
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "a"], ["b"])], "g",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [512, 512])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [512, 512])])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    session.run(None, {"a": np.ones((512, 512), np.float32)})
    assert torch.get_num_threads() >= 1 and expected.shape == (2, 3, 256, 256)
    return np.full((1, 8, 8, 3), 9, np.uint8)
"""
    with Nursery() as nursery:  # everything is imported, nothing has run: else the child would hang
        for _ in range(2):
            process, images = run(nursery, source)
            process.close()
            assert images.mean() == 9
        # with every engine imported, and a script that does nothing: from start to the first picture
        took = []
        for _ in range(5):
            started = time.monotonic()
            run(nursery, GOOD)[0].close()
            took.append(time.monotonic() - started)
        assert statistics.median(took) < 1.0


def test_nothing_is_left_when_the_judging_process_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(GOOD.replace("return out", "while True: pass"))
    code = f"""
from pathlib import Path
import threading
from agent.sandbox import Nursery
from engines.workload import Workload
nursery = Nursery(readable=[{str(tmp_path)!r}], preloaded={LIGHT!r})
process = nursery.start()
process.load(Path({str(script)!r}), "tiny-scenes", "cpu", Workload())
threading.Thread(target=process.generate, args=(["a"], [1]), daemon=True).start()
print(process.pid, nursery._source._server.pid, flush=True)
threading.Event().wait()
"""
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pids = [int(word) for word in owner.stdout.readline().split()]
    assert len(pids) == 2
    owner.kill()
    owner.communicate()
    left = pids
    for _ in range(100):
        left = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
        if not left:
            break
        time.sleep(0.1)
    assert left == []


def test_a_paused_process_takes_no_time_and_goes_on(forks: Nursery) -> None:
    process, _ = run(forks, GOOD)
    with process:
        process.pause()
        assert process.alive
        process.resume()
        assert process.generate(["a"], [3]).images.mean() == 3


@pytest.mark.slow
def test_a_compiled_engine_opens_behind_the_walls(tmp_path: Path) -> None:
    from agent.evaluate.bench import _BUILDER
    from engines.models.load import open_model
    from engines.workload import Workload

    model = str(open_model("tiny-scenes").path)
    recipe: tuple[tuple[str, dict[str, Any]], ...] = (
        ("student", {"steps": 1}),
        ("tiny-decoder", {}),
        ("engine", {"backend": "compile"}),
    )
    draws = f"""
from engines.pipeline import build, plan
from engines.techniques.base import technique

def load(model, device, workload):
    return build(plan(model, device, workload, [technique(name)(**values) for name, values in {recipe!r}]))

def generate(pipeline, prompts, seeds):
    return pipeline.generate(prompts, seeds).images
"""
    with Nursery(Limits(load_seconds=1800), [model]) as nursery:
        for script, trusted in ((_BUILDER.format(recipe=recipe), True), (draws, False)):
            process = nursery.start(trusted=trusted)
            (process.folder / "candidate.py").write_text(script)
            process.load(process.folder / "candidate.py", model, "cpu", Workload())
        answer = process.generate(["a red house"], [1])
    assert answer.images.shape == (1, 64, 64, 3)
    assert answer.fallbacks == ()


CUDA_STARTS = """
import os, socket
import numpy as np
def load(model, device, workload):
    handle = os.memfd_create("cuda")
    os.write(handle, b"x" * 1000)
    here = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    here.bind("\\0cuda-uvmfd-test-" + str(os.getpid()))
    here.listen(16)
    refused = []
    for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_UNIX, socket.SOCK_STREAM),
                         (socket.AF_UNIX, socket.SOCK_DGRAM), (socket.AF_INET, socket.SOCK_DGRAM)):
        try:
            socket.socket(family, kind)
        except PermissionError:
            refused.append(kind)
    try:
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(here.getsockname())
    except PermissionError:
        refused.append("connect")
    assert len(refused) == 5, refused
def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
"""


@pytest.mark.skipif(not landlock.version(), reason="the walls of Linux")
def test_with_a_card_a_script_may_do_what_cuda_does_to_start_and_no_more() -> None:
    with Nursery(LIMITS, preloaded=LIGHT, card=True) as made:
        process, images = run(made, CUDA_STARTS)
        assert process.isolation == made.isolation
        assert images.shape == (1, 8, 8, 3)


@pytest.mark.skipif(not landlock.version(), reason="the walls of Linux")
def test_files_without_a_name_count_as_files() -> None:
    source = (
        CUDA_STARTS.partition("    here = ")[0]
        + """
    kept = [os.memfd_create(str(index)) for index in range(12)]
    for one in kept:
        os.write(one, bytes(4 << 20))
    import time
    time.sleep(60)
def generate(pipeline, prompts, seeds):
    return None
"""
    )
    with (
        Nursery(replace(LIMITS, disk=16), preloaded=LIGHT, card=True) as made,
        pytest.raises(CandidateFailure, match="wrote more than 16 MiB"),
    ):
        run(made, source)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_script_may_compile_behind_the_walls(method: Method) -> None:
    source = """
import numpy as np
import torch
def load(model, device, workload):
    network = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.SiLU(), torch.nn.LayerNorm(8))
    given = torch.randn(4, 8)
    with torch.inference_mode():
        assert torch.allclose(torch.compile(network)(given), network(given), atol=1e-5)
def generate(pipeline, prompts, seeds):
    return np.zeros((len(prompts), 8, 8, 3), np.uint8)
"""
    limits = Limits(memory=4096, load_seconds=300, generate_seconds=60)
    with Nursery(limits, method=method, preloaded=("numpy", "torch", "engines.harness")) as made:
        _, images = run(made, source)
        assert images.shape == (1, 8, 8, 3)
