"""Tables and traces from files: what they mean, and one sentence for each thing that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.errors import PlanError
from studio.plan.measured import Speed, measured_tables
from studio.plan.profile import Profile, per_image
from studio.plan.quality import QualityByPrompt, QualityByShare, choices
from studio.plan.tables import Tables, read_confidences, read_profiles, read_quality, write_tables
from studio.plan.traces import Trace, bursts, diurnal, poisson, read_trace, rows_for, spelled
from tests.studio.cascade_tables import tables, with_dip


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_profiles_are_read_from_json_with_spread_from_the_90th_percentile(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "p.json",
        {
            "light": {
                "name": "turbo",
                "ms": {"1": 100, "4": 220},
                "p90_ms": {"1": 112.8155},
                "load_ms": 2000,
            },
            "heavy": {"ms": {"1": 1780, "2": 2160}},
            "discriminator_ms": 20,
        },
    )
    (device,) = read_profiles(path)
    assert device.light.name == "turbo"
    assert device.light.at(2) == pytest.approx(0.14)
    assert device.light.at(1, 0.9) == pytest.approx(0.1128155, rel=1e-4)
    assert device.light.at(4, 0.9) == pytest.approx(0.22 * 1.128155, rel=1e-4)
    assert device.light.load_seconds == 2
    assert device.heavy.at(2, 0.9) == pytest.approx(2.16)
    assert device.light_seconds(4) == pytest.approx(0.22 + 0.08)


def test_profiles_are_read_from_csv_with_any_two_models_and_several_devices(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "p.csv",
        "model,batch,ms,device\nturbo,1,100,a\nturbo,2,150,a\nbig,1,1780,a\nother,1,5,a\n"
        "turbo,1,300,b\nbig,1,4000,b\ndiscriminator,1,10,b\n",
    )
    first, second = read_profiles(path, "turbo", "big")
    assert (first.name, second.name) == ("a", "b")
    assert first.light.batches == (1, 2)
    assert first.discriminator is None
    assert second.light_seconds(1) == pytest.approx(0.31)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    made = tables(5, spread=0.2, load_seconds=3.0)
    documents = write_tables(made)
    paths = {name: written(tmp_path, f"{name}.json", document) for name, document in documents.items()}
    found, ids = read_confidences(paths["confidences"])
    again = Tables(read_profiles(paths["profiles"]), found, read_quality(paths["quality"]), ids)
    assert again.devices[0].workers == 5
    np.testing.assert_allclose(again.devices[0].heavy.spread, made.devices[0].heavy.spread)
    np.testing.assert_allclose(again.choices().loss, made.choices().loss)


def test_confidences_are_a_list_a_list_for_each_prompt_or_a_deferral_curve(tmp_path: Path) -> None:
    found, ids = read_confidences(written(tmp_path, "a.json", [0.1, 0.2]))
    assert found.tolist() == [0.1, 0.2]
    assert ids.size == 0
    found, ids = read_confidences(written(tmp_path, "b.json", [[0.1, 0.2], [0.3]]))
    assert (found.tolist(), ids.tolist()) == ([0.1, 0.2, 0.3], [0, 0, 1])
    found, ids = read_confidences(written(tmp_path, "c.csv", "prompt_id,confidence\n7,0.5\n9,0.25\n"))
    assert (found.tolist(), ids.tolist()) == ([0.5, 0.25], [7, 9])
    found, _ = read_confidences(written(tmp_path, "d.csv", "0.5\n0.25\n"))
    assert found.tolist() == [0.5, 0.25]
    curve = {"threshold": [0, 0.02, 0.1, 0.3, 0.56], "share": [0, 0.26, 0.449, 0.788, 1]}
    found, _ = read_confidences(written(tmp_path, "e.json", curve))
    for threshold, share in zip(curve["threshold"], curve["share"], strict=True):
        assert (found < threshold).mean() == pytest.approx(share, abs=0.001)


def test_quality_by_share_of_light_is_turned_and_lower_is_better_for_fid(tmp_path: Path) -> None:
    path = written(tmp_path, "q.csv", "share_light,FID\n0,18.55\n50,16.95\n100,22.77\n")
    found = read_quality(path)
    assert isinstance(found, QualityByShare)
    assert not found.higher_is_better
    assert found.at_share([0, 0.5, 1]).tolist() == [22.77, 16.95, 18.55]
    by_prompt = read_quality(
        written(tmp_path, "q.json", {"metric": "adherence", "light": [0.5], "heavy": [1.0]})
    )
    assert isinstance(by_prompt, QualityByPrompt)


def test_quality_at_a_threshold_is_that_of_the_pictures_it_picks() -> None:
    quality = QualityByPrompt("worth", np.array([0.2, 0.6, 0.9]), np.array([0.8, 0.7, 0.5]))
    found = choices(np.array([0.1, 0.2, 0.3]), quality)
    assert found.shares.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert found.quality.tolist() == pytest.approx([1.7 / 3, 2.3 / 3, 2.4 / 3, 2.0 / 3])
    assert found.loss.tolist() == pytest.approx([0.1, -0.1, -0.4 / 3, 0])


@pytest.mark.parametrize(
    ("reader", "name", "content", "words"),
    [
        (read_profiles, "p.json", "{", "is no JSON"),
        (read_profiles, "p.json", "[]", "must hold a table"),
        (read_profiles, "p.json", {"light": {"ms": {"1": 5}}}, "no profile of the heavy"),
        (read_profiles, "p.json", {"light": {"ms": {}}, "heavy": {"ms": {"1": 5}}}, "has no batch size"),
        (read_profiles, "p.json", {"light": {"ms": {"1": -5}}, "heavy": {"ms": {"1": 5}}}, "above 0"),
        (read_profiles, "p.json", {"light": {"ms": {"1.5": 5}}, "heavy": {"ms": {"1": 5}}}, "no batch size"),
        (read_profiles, "p.json", {"light": {"ms": [5]}, "heavy": {"ms": {"1": 5}}}, "by batch size"),
        (read_profiles, "p.json", '{"light": {"ms": {"1": NaN}}, "heavy": {"ms": {"1": 5}}}', "finite"),
        (read_profiles, "p.csv", "model,ms\nlight,5\n", "no column `batch`"),
        (read_profiles, "p.csv", "model,batch,ms\nlight,one,5\n", "line 2"),
        (read_profiles, "p.csv", "model,batch,ms\nlight,1\n", "has 2 cells for 3"),
        (read_profiles, "p.csv", "", "is empty"),
        (read_confidences, "c.json", "[0.1, NaN]", "finite"),
        (read_confidences, "c.json", '["a"]', "number 1"),
        (read_confidences, "c.csv", "score\nx\n", "no column `confidence`"),
        (read_confidences, "c.json", {"threshold": [0.1], "share": [0.2]}, "two thresholds"),
        (read_quality, "q.json", {"metric": "FID"}, "needs share_light"),
        (read_quality, "q.json", {"share_light": [0, 1], "value": [1]}, "1 values for 2 shares"),
        (read_quality, "q.json", {"share_light": [0, 0], "value": [1, 2]}, "each given once"),
        (read_quality, "q.json", {"better": "warmer", "light": [1], "heavy": [1]}, "lower"),
        (read_trace, "t.csv", "", "is empty"),
        (read_trace, "t.csv", "arrival_ms\n", "is empty"),
        (read_trace, "t.csv", "1\n-5\n", "Line 2"),
        (read_trace, "t.csv", "1\nnan\n", "Line 2"),
        (read_trace, "t.csv", "1\nsoon\n", "Line 2"),
        (read_trace, "t.csv", "1,2\n3\n", "has 1 cells"),
        (read_trace, "t.json", "{}", "is no trace"),
        (read_trace, "t.json", {"arrival_ms": [-1]}, "negative"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_sentence(
    tmp_path: Path, reader: Any, name: str, content: Any, words: str
) -> None:
    path = written(tmp_path, name, content)
    with pytest.raises(PlanError) as caught:
        reader(path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reader", [read_profiles, read_confidences, read_quality, read_trace])
def test_files_that_are_not_there_or_no_text_are_refused(tmp_path: Path, reader: Any) -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        reader(tmp_path / "none.json")
    binary = tmp_path / "x.csv"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(PlanError, match="no text"):
        reader(binary)


def test_confidences_and_qualities_of_different_prompts_do_not_fit() -> None:
    made = tables(1)
    with pytest.raises(PlanError, match="3 confidences for 400 prompts"):
        Tables(made.devices, np.array([0.1, 0.2, 0.3]), made.quality)
    assert Tables(made.devices, np.array([0.1, 0.2, 0.3]), with_dip()).choices().metric == "FID"


def test_workers_are_given_by_device() -> None:
    made = tables(4)
    assert made.with_workers({"": 9}).devices[0].workers == 9
    with pytest.raises(PlanError, match="no profile for b"):
        made.with_workers({"b": 2})


def test_a_profile_that_cannot_be_is_refused() -> None:
    for batches, seconds in (
        ((), ()),
        ((2, 1), (1.0, 2.0)),
        ((1,), (0.0,)),
        ((1,), (1.0, 2.0)),
        ((0,), (1.0,)),
    ):
        with pytest.raises(PlanError):
            Profile("x", batches, seconds)
    assert per_image("score", 0.0, 4) is None


def test_a_file_of_arrivals_is_sorted_with_its_prompts(tmp_path: Path) -> None:
    found = read_trace(
        written(tmp_path, "t.csv", "arrival_ms,prompt_id\n3000,7\n# a note\n1000,9\n\n2000,8\n")
    )
    assert found.arrivals.tolist() == [1, 2, 3]
    assert found.prompt_ids.tolist() == [9, 8, 7]
    assert read_trace(written(tmp_path, "u.csv", "500\n250")).arrivals.tolist() == [0.25, 0.5]
    assert len(read_trace(written(tmp_path, "v.json", {"arrival_ms": [5, 1], "prompt_id": [1, 2]}))) == 2


def test_requests_find_a_row_of_their_prompt_and_unknown_prompts_are_refused() -> None:
    trace = Trace("t", np.arange(300.0), np.tile([7, 9, 9], 100))
    rows = rows_for(trace, np.array([9, 7, 9, 5]))
    assert set(rows[trace.prompt_ids == 7].tolist()) == {1}
    assert set(rows[trace.prompt_ids == 9].tolist()) == {0, 2}
    with pytest.raises(PlanError, match="asks for prompt 7"):
        rows_for(trace, np.array([9, 5]))


def test_drawn_traces_have_the_load_and_shape_they_say_and_repeat_by_seed() -> None:
    steady = poisson(20, 500, seed=3)
    assert steady.rate == pytest.approx(20, rel=0.05)
    gaps = np.diff(steady.arrivals)
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.06)
    assert np.array_equal(steady.arrivals, poisson(20, 500, seed=3).arrivals)
    assert not np.array_equal(steady.arrivals[:50], poisson(20, 500, seed=4).arrivals[:50])
    day = diurnal(2, 30, 400)
    quarter = np.histogram(day.arrivals, 4, (0, 400))[0]
    assert quarter[1] + quarter[2] > 3 * (quarter[0] + quarter[3])
    busy = bursts(5, 50, 600)
    assert busy.peak(5) > 3 * busy.rate
    assert day.scaled(2).rate == pytest.approx(2 * day.rate, rel=0.01)


def test_traces_can_be_spelled() -> None:
    assert spelled("poisson:5:60").rate == pytest.approx(5, rel=0.3)
    assert spelled("diurnal:1-9:100").seconds <= 100
    assert spelled("bursts:2-20:100", seed=1).name == "bursts 2 to 20/s"
    for wrong in ("poisson:many", "diurnal:9-1:100", "bursts:-1-3:5", "poisson:0:10", "poisson:1e9:1e9"):
        with pytest.raises(PlanError):
            spelled(wrong)


def test_a_measured_pair_becomes_tables_with_the_verdicts_times(tmp_path: Path) -> None:
    from studio.plan.cascade import Cascade
    from tests.studio.ui.window_recording import cascade_result

    cascade = Cascade.from_json(cascade_result(tmp_path, "c1", "c0"))
    made = measured_tables(
        cascade, Speed("c1", {1: 10.0, 4: 20.0}, seconds=0.1, p90=0.12), Speed("c0", {}), workers=3
    )
    (device,) = made.devices
    assert device.workers == 3
    assert device.light.at(1) == pytest.approx(0.1)
    assert device.light.at(4) == pytest.approx(0.2)
    assert device.light.at(1, 0.9) == pytest.approx(0.12)
    assert device.heavy.at(1) == pytest.approx(1.1)
    assert device.discriminator_seconds(4) == pytest.approx(0.008)
    assert made.choices().quality[-1] == pytest.approx(cascade.curve[-1].quality.value)
