"""What is counted of a script's work, and when it is given up: the arithmetic, without running anything.

Scripts that try to fool either are in `cheats`; real counts are in `test_judge.py`.
"""

from __future__ import annotations

import math
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from agent.candidate import Interval
from agent.evaluate import census, hopeless
from agent.evaluate.conduct import Timed
from agent.evaluate.prompts import Asked
from agent.evaluate.trace import Reading, Seen, Trace
from agent.evolution.front import WORST_LOSS
from agent.sandbox import Answer, Counted
from agent.sandbox.tap import Tap
from engines.measure.timing import Timing
from engines.pipeline import plan
from engines.techniques import ProgressiveResolution, VaeTiling
from engines.workload import Workload

PICTURES = np.random.default_rng(4).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
ASKED = Asked(("a red house",), (5,))
HEAD = '{\n  "schema": "1.1.1-chakra.0.0.4", "pid": 7,\n  "nodes": [\n'
FOOT = '  ],\n  "finish_ts": 9\n}'


def node(number: int, name: str, inputs: str = "", outputs: str = "", types: str = "") -> str:
    return (
        f'      {{\n        "id": {number + 3}, "name": "{name}", "ctrl_deps": 2,\n'
        f'        "inputs": {{"values": [], "shapes": [{inputs}], "types": [{types}], "strides": []}},\n'
        f'        "outputs": {{"values": [], "shapes": [{outputs}], "types": [], "strides": []}},\n'
        f'        "attrs": [{{"name": "rf_id", "type": "uint64", "value": {number}}}]\n      }},\n'
    )


CONVOLUTION = ("aten::convolution", "[2,4,8,8],[6,4,3,3],[6]", "[2,6,8,8]", '"Tensor(float)","Tensor(float)"')


SEALS = (node(0, "pareto-studio|word"), node(9, "pareto-studio|word"))


def read(*nodes: str, head: str = HEAD, foot: str = FOOT, piece: int = 50, seals: int = 2) -> Trace:
    """Of nodes whose numbers begin with 1."""
    last = SEALS[1].replace('"value": 9', f'"value": {len(nodes) + 1}')
    text = (head + SEALS[0] + "".join(nodes) + (last if seals > 1 else "") + foot).encode()
    reading = Reading("word")
    for start in range(0, len(text), piece):
        reading.feed(text[start : start + piece])
    return reading.done()


def test_operations_are_counted_as_torch_counts_them_whatever_pieces_they_come_in() -> None:
    frame = node(0, "[pytorch|profiler|execution_trace|thread]")
    nodes = (
        node(1, *CONVOLUTION),
        node(2, "aten::_convolution", *CONVOLUTION[1:]),
        node(3, "aten::addmm", "[6],[2,8],[8,6]", "[2,6]", '"Tensor(c10::BFloat16)"'),
        node(4, "pareto-studio|denoiser|2|8x8|torch fp32"),
        node(5, "pareto-studio|denoiser|2|8x8|torch fp32"),
        node(6, "aten::_scaled_mm", "[4,8],[8,6]", "[4,6]", '"Tensor(c10::Float8_e4m3fn)"'),
    )
    for piece in (1, 50, 10_000):
        found = read(*nodes, head=HEAD + frame, foot=frame + FOOT, piece=piece)
        assert found.complete
        assert found.flops == 2 * (2 * 6 * 8 * 8) * (4 * 3 * 3) + 2 * 2 * 8 * 6 + 2 * 4 * 8 * 6
        assert found.sides == {8: found.flops - 192 - 384}
        assert found.dtypes == {"float32": 1, "bfloat16": 1, "float8": 1}
        assert found.components == (Counted("denoiser", "8x8", "torch fp32", 2, 4),)


ONE = node(1, *CONVOLUTION)


@pytest.mark.parametrize(
    "found",
    [
        read(ONE, foot=""),
        read(ONE, head=""),
        read(node(2, *CONVOLUTION)),
        read(ONE, ONE),
        read(ONE.replace("rf_id", "id")),
        read(ONE, seals=1),
        read(ONE, head=HEAD + node(7, "aten::relu")),
        Reading("word").done(),
    ],
    ids=[
        "cut short", "begun late", "one left out", "one written twice", "one without a number",
        "ended by somebody else", "begun by somebody else", "none",
    ],
)  # fmt: skip
def test_a_trace_that_was_touched_is_not_complete(found: Trace) -> None:
    assert not found.complete
    assert "cut short" in census.untouched(Seen(ASKED, Answer(PICTURES, 1.0), {}, found))
    assert read(ONE).complete


def test_a_tap_reads_what_another_wrote_and_takes_its_name_away(tmp_path: Path) -> None:
    got: list[bytes] = []
    with Tap(tmp_path, got.append) as tap:
        assert tap.path.exists()
        with tap.path.open("wb") as pipe:
            pipe.write(b"x" * 300_000)
    assert b"".join(got) == b"x" * 300_000
    assert not list(tmp_path.iterdir())
    with Tap(tmp_path, got.append):  # nobody writes
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_what_was_written_to_a_tap_cannot_be_taken_back(tmp_path: Path) -> None:
    got: list[bytes] = []
    with Tap(tmp_path, got.append) as tap, tap.path.open("r+b", buffering=0) as pipe:
        pipe.write(b"counted")
        while not got:
            pass
        with pytest.raises(OSError, match="seek"):
            pipe.seek(0)
    assert b"".join(got) == b"counted"


def test_torch_s_observer_tells_of_every_thread_and_of_what_python_s_hooks_do_not_see(tmp_path: Path) -> None:
    import onnxruntime
    import torch
    from onnx import TensorProto, helper

    from engines.census import Originals, take

    network = torch.nn.Conv2d(4, 6, 3, padding=1)
    shape = [1, 4, 8, 8]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "ab"]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", values[:1], values[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])

    def draw() -> np.ndarray:
        with torch.inference_mode():
            network(torch.zeros(1, 4, 8, 8))
            with torch._C._DisableTorchDispatch():
                network(torch.zeros(1, 4, 16, 16))
            thread = threading.Thread(target=lambda: network(torch.zeros(1, 4, 32, 32)))
            thread.start()
            thread.join()
        session.run(None, {"a": np.zeros(shape, np.float32)})
        return PICTURES

    kept = onnxruntime.InferenceSession.run
    reading = Reading("word")
    with Tap(tmp_path, reading.feed) as tap:
        said, drawn = take(draw, Originals(), None, str(tap.path), "word")
    found = reading.done()
    assert drawn is PICTURES
    assert said["patched"] == []
    assert onnxruntime.InferenceSession.run is kept
    assert found.complete
    each = 2 * 6 * 4 * 9
    assert found.sides == {8: each * 8**2, 16: each * 16**2, 32: each * 32**2}
    assert found.flops == sum(found.sides.values())
    assert found.components == (Counted("network", "8x8", "onnxruntime", 1, 1),)


def seen(trace: Trace, seconds: float = 1.0, **said: object) -> Seen:
    return Seen(ASKED, Answer(PICTURES, seconds), said, trace)


FULL = Trace(True, 1e9, {8: 6e8, 64: 4e8}, {"float32": 90}, (Counted("denoiser", "8x8", "torch fp32", 3, 6),))


def test_types_engines_and_work_are_held_to_what_is_declared() -> None:
    made = plan("tiny-scenes", "cpu", Workload(), ())
    fine = seen(FULL, engines={"denoiser": "torch fp32"}, patched=[])
    assert not any((census.untouched(fine), census.types(fine, made), census.work(fine, made, 1e9)))
    narrow = seen(Trace(True, 1e9, {}, {"float32": 90, "bfloat16": 3}))
    assert "bfloat16" in census.types(narrow, made)
    assert "runs as openvino int8" in census.types(seen(FULL, engines={"denoiser": "openvino int8"}), made)
    assert "GFLOP" in census.work(seen(Trace(True, 5e8)), made, 1e9)
    assert "time.time" in census.untouched(seen(FULL, patched=["time.time"]))
    assert census.types(narrow, None) == census.work(narrow, None, 1e9) == ""


def test_a_picture_drawn_small_shows_in_shapes() -> None:
    made = plan("tiny-scenes", "cpu", Workload(), ())
    small = seen(Trace(True, 1e9, {4: 6e8, 32: 4e8}, {}, (Counted("denoiser", "4x4", "torch fp32", 3, 6),)))
    assert "at 64 pixels do 0%" in census.sides(small, made, FULL)
    assert "more than 32 pixels" in census.full_size(small, None, FULL)
    assert "given 4x4 in 3 calls" in census.latent_size(small, None, made.loop.latent_shape)
    for found in (
        census.sides(seen(FULL), made, FULL),
        census.full_size(seen(FULL), None, FULL),
        census.latent_size(seen(FULL), None, made.loop.latent_shape),
    ):
        assert found == ""
    tiled = plan("tiny-scenes", "cpu", Workload(), [VaeTiling(tiles=2)])
    assert census.full_size(small, tiled, FULL) == ""
    growing = plan("tiny-scenes", "cpu", Workload(), [ProgressiveResolution(until=0.5)])
    assert census.latent_size(small, growing, growing.loop.latent_shape) == ""
    elsewhere = seen(Trace(True, 1e7, {4: 1e7}))  # another runtime does the work: torch's sides say nothing
    assert census.full_size(elsewhere, None, FULL) == ""


def test_more_work_than_the_machine_can_do_in_the_time_is_not_believed() -> None:
    def rate(_: object) -> float:
        return 1e10

    assert census.possible(seen(FULL, 0.2), 0.2, rate) == ""
    assert "when it was counted" in census.possible(seen(FULL, 0.02), 0.2, rate)
    assert "when it was timed" in census.possible(seen(FULL, 0.2), 0.02, rate)
    assert census.possible(seen(FULL, 0.02), 0.02, lambda _: None) == ""


def test_the_counted_picture_is_the_timed_one() -> None:
    assert census.as_timed(seen(FULL), Timed(ASKED, PICTURES)) == ""
    assert "while it is watched" in census.as_timed(seen(FULL), Timed(ASKED, PICTURES[:, ::-1]))


# -- given up early ------------------------------------------------------------------------------


def test_a_bound_of_few_losses_is_wide_and_never_surer_than_their_number() -> None:
    assert hopeless.least_loss([0.9], 4) == -math.inf
    assert hopeless.least_loss([0.55] * 4, 4) < WORST_LOSS  # equal by chance is no proof
    assert hopeless.least_loss([0.9] * 4, 4) > WORST_LOSS
    assert hopeless.least_loss([0.7] * 4, 4) < hopeless.least_loss([0.7] * 8, 4)
    assert hopeless.least_loss([0.7] * 8, 8) < hopeless.least_loss([0.7] * 8, 1)  # each look costs certainty


def test_the_line_lies_where_pictures_of_other_prompts_are_not_far() -> None:
    assert hopeless.line(0.6, of_worth=True) == pytest.approx(0.45)
    assert hopeless.line(0.9, of_worth=True) == hopeless.line(0.6, of_worth=False) == WORST_LOSS
    for nothing in (math.nan, -0.1, 0.05, 0.2):
        assert hopeless.line(nothing, of_worth=True) == WORST_LOSS


def test_looking_again_and_again_accuses_hardly_anybody_at_the_line() -> None:
    """A mean loss right at the line, in steps of a sixth as attributes are counted, looked at four times."""
    rng = np.random.default_rng(8)
    accused = 0
    for _ in range(1000):
        losses = rng.binomial(6, 0.5, 16) / 6
        accused += any(hopeless.least_loss(losses[:n], 4) > 0.5 for n in (4, 8, 12))
    assert accused <= 20  # of a thousand, twice what is promised


def test_worthless_pictures_and_long_times_end_a_candidate_with_its_evidence() -> None:
    hopeless.worthless([0.2, 0.1, 0.3, 0.2], 4, "smoke")
    with pytest.raises(hopeless.Hopeless) as found:
        hopeless.worthless([0.95, 0.9, 0.99, 0.97], 4, "smoke")
    verdict = found.value.verdict
    assert (verdict.state, verdict.stage, verdict.stopped) == ("failed", "smoke", True)
    assert verdict.reason.startswith("Stopped early, after 4 pictures: its loss is 0.95")
    assert "0.990" in verdict.evidence
    assert verdict.latency is None
    loss = Interval(0.1, 0.0, 0.2)
    slower = Timing((0.1, 0.101, 0.1, 0.102), ((0.15,), (0.152,), (0.149,)))
    hopeless.too_slow(slower, loss)  # half as fast again is no reason
    with pytest.raises(hopeless.Hopeless) as late:
        hopeless.too_slow(Timing((0.1, 0.101, 0.1, 0.102), ((0.35,), (0.352,), (0.349,))), loss)
    verdict = late.value.verdict
    assert "3.5 times the baseline's time" in verdict.reason
    assert verdict.speedup is not None
    assert verdict.speedup.high < 0.5
    noisy = Timing((0.1, 0.3, 0.1, 0.2), ((0.35,), (0.9,), (0.15,)))
    hopeless.too_slow(noisy, loss)  # what is not sure is measured in full
