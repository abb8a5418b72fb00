"""Catalogue overlays: what they change, who sees it, and what is said of a wrong one."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest

from factory.errors import InputError, ScenarioError
from factory.performance import Layout, RankWork, build, build_memory, efficiency
from factory.performance.memory import state_bytes_per_sequence_per_gpu
from factory.scenario import catalog, catalog_of, load, locate, read_overlays, resolved
from factory.scenario.changes import SECTIONS, Changes, as_changes, change_problems
from factory.simulation.preflight import notes

OVERLAY = """\
# Written by `factory calibrate steps`; numbers that differ from the shipped catalogue.
sources:
  calibrated: {kind: fitted, source: "m.csv: 10 rows fitted, 2 held out", date: 2026-11-22}

kernels:
  hopper:
    decode_memory: {value: 0.5, from: calibrated} # was 0.937

products:
  hopper-fp16:
    memory: {value: 0.4, from: calibrated}

engines:
  generic:
    step_overhead_ms: {value: 2, from: calibrated}

# |predicted / measured - 1|, as ratios; bias has its sign
errors:
  fitted_before: {n: 10, median: 0.1, mean: 0.1, bias: 0.1, p90: 0.2}
"""
SOURCE = "sources:\n  mine: {kind: measured, source: here, date: 2026-11}\n"
OURS = (
    SOURCE + "engines:\n  ours:\n    from: mine\n    like: sglang-2025-11\n    kernel_time: 0.5\n"
)
PROFILE = "deployments[0].pools[0].engine.profile"


@pytest.fixture
def written(minimal, tmp_path):
    """Writes a scenario and the overlays that it names, and loads it."""

    def loaded(*overlays, named=None, overrides=(), given=()):
        for number, text in enumerate(overlays):
            (tmp_path / f"{number}.yaml").write_text(text)
        names = [f"{number}.yaml" for number in range(len(overlays))] if named is None else named
        file = tmp_path / "s.yaml"
        # JSON is YAML: on one line, so that whatever is on other lines is the overlay's.
        file.write_text(json.dumps({**minimal, "catalog_overlays": names}))
        return load(file, overrides, overlays=given)

    return loaded


def said(*arguments, written):
    with pytest.raises(ScenarioError) as caught:
        written(*arguments)
    return str(caught.value).splitlines()


def test_changed_records_are_what_the_scenario_sees(written):
    scenario = written(OVERLAY)
    known, shipped = catalog_of(scenario), catalog()
    assert known.kernels["hopper"].decode_memory == 0.5
    assert known.products["hopper-fp16"].memory == 0.4
    assert known.engines["generic"].step_overhead_ms == 2.0
    assert known.engines["generic"].provenance["step_overhead_ms"].source.startswith("m.csv")
    same = dataclasses.replace(
        known.kernels["hopper"], decode_memory=shipped.kernels["hopper"].decode_memory
    )
    assert same == shipped.kernels["hopper"]
    assert known.kernels["blackwell"] is shipped.kernels["blackwell"]
    assert known.gpus is shipped.gpus
    assert shipped.engines["generic"].step_overhead_ms < 2.0


def test_step_times_follow(written):
    def ms(scenario):
        deployment = scenario.deployments[0]
        model = build(deployment.pools[0], deployment, catalog_of(scenario), scenario)
        return model.plan([RankWork(decode=4, context=4000, logit_rows=4)], 1.0, 1).base_s * 1e3

    plain, changed = ms(written(OVERLAY, named=[])), ms(written(OVERLAY))
    hosted = ms(written(OVERLAY.replace("value: 2,", "value: 7,")))
    assert changed > plain + 1.5
    assert hosted == pytest.approx(changed + 5.0)


def test_efficiency_takes_a_catalogue():
    overlaid = dataclasses.replace(
        catalog(), engines={"x": catalog().engines["generic"], "x@hopper": "own"}
    )
    assert efficiency("hopper", "x", overlaid).engine == "own"
    assert efficiency("blackwell", "x", overlaid).engine is catalog().engines["generic"]
    assert set(efficiency("hopper").products) == {"fp16", "fp8", "fp8_block", "nvfp4", "mxfp4"}


def test_a_resolved_scenario_needs_the_files_no_more(written, tmp_path):
    scenario = written(OVERLAY, OURS, overrides=[f"{PROFILE}=ours"])
    (tmp_path / "0.yaml").unlink()
    (tmp_path / "1.yaml").unlink()
    data = json.loads(json.dumps(resolved(scenario)))
    assert data["catalog_overlays"] == []
    change = data["catalog_changes"]["kernels"]["hopper"]["decode_memory"]
    assert change == {
        "value": 0.5,
        "kind": "fitted",
        "source": "m.csv: 10 rows fitted, 2 held out",
        "date": "2026-11-22",
    }
    assert load(data) == scenario
    assert catalog_of(load(data)) == catalog_of(scenario)


def test_what_an_overlay_says_is_part_of_the_run(written):
    plain, changed = resolved(written(OVERLAY)), resolved(written(OVERLAY.replace("0.4", "0.41")))
    assert plain != changed
    assert resolved(written(OVERLAY, "errors: {}\n")) == plain
    (note,) = notes(written(OVERLAY), catalog())
    assert note == (
        "3 numbers of the catalogue changed by overlay, in products.hopper-fp16, kernels.hopper, "
        "engines.generic"
    )


def test_a_later_overlay_wins(written, tmp_path, monkeypatch):
    second = SOURCE + "engines: {generic: {step_overhead_ms: {value: 3, from: mine}}}\n"

    def overhead(scenario):
        return catalog_of(scenario).engines["generic"].step_overhead_ms

    assert overhead(written(OVERLAY, second)) == 3.0
    assert overhead(written(second, OVERLAY)) == 2.0
    assert overhead(written(second, OVERLAY, named=["1.yaml"], given=[tmp_path / "0.yaml"])) == 3.0
    shipped = catalog().engines["generic"].step_overhead_ms
    assert overhead(written(OVERLAY, overrides=["catalog_overlays=[]"])) == shipped
    # What a flag names starts from the working folder.
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "x.yaml").write_text(second)
    monkeypatch.chdir(tmp_path / "here")
    assert overhead(written(OVERLAY, overrides=["catalog_overlays=[x.yaml]"])) == 3.0
    assert overhead(written(OVERLAY, given=["x.yaml"])) == 3.0
    scenario = written(OVERLAY)
    place = locate(scenario, "catalog_changes.engines.generic.step_overhead_ms")
    assert place == f"{tmp_path / '0.yaml'}:15:23"


def test_a_new_profile_is_like_another(written):
    scenario = written(OURS, overrides=[f"{PROFILE}=ours"])
    known = catalog_of(scenario)
    for suffix in ("", "@hopper"):
        like, ours = known.engines[f"sglang-2025-11{suffix}"], known.engines[f"ours{suffix}"]
        assert ours == dataclasses.replace(like, name=f"ours{suffix}", kernel_time=0.5)
        assert ours.provenance["kernel_time"].source == "here"
        assert ours.provenance["step_overhead_ms"] == like.provenance["step_overhead_ms"]
    assert efficiency("hopper", "ours", known).engine is known.engines["ours@hopper"]


def test_a_variant_builds_on_its_profile(written):
    text = OURS + "  ours@hopper: {from: mine, prompt_overhead_ms: 3}\n"
    engines = catalog_of(written(text)).engines
    like = catalog().engines["sglang-2025-11@hopper"]
    assert engines["ours@hopper"] == dataclasses.replace(
        like, name="ours@hopper", kernel_time=0.5, prompt_overhead_ms=3.0
    )
    assert engines["ours"].prompt_overhead_ms == 0.0


def test_a_new_profile_may_give_all_fields(written):
    fields = as_changes(catalog().engines["kernels"], "engines")
    lines = [f"    {name}: {change['value']}" for name, change in fields.items()]
    text = SOURCE + "engines:\n  ours:\n    from: mine\n" + "\n".join(lines) + "\n"
    ours = catalog_of(written(text)).engines["ours"]
    assert ours == dataclasses.replace(catalog().engines["kernels"], name="ours")
    (line,) = said("\n".join(text.splitlines()[:-1]), written=written)
    assert line.endswith(
        "0.yaml:5:5: engines.ours: is a new engine profile: give like: NAME, or also expert_skew"
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("kernel: {}", "0.yaml:3:9: kernel: unknown section of an overlay, got"),
        (
            "kernels:\n  hoper: {link: {value: 0.9, from: mine}}",
            '0.yaml:4:10: kernels.hoper: unknown record of kernels, got "hoper" (allowed: hopper, ',
        ),
        (
            "products:\n  hopper-fp8:\n    memry: {value: 0.9, from: mine}",
            "0.yaml:5:5: products.hopper-fp8.memry: unknown field (allowed: launch_us, compute, ",
        ),
        (
            "products:\n  hopper-fp8:\n    memory: {value: 1.2, from: mine}",
            "0.yaml:5:21: products.hopper-fp8.memory: must be > 0 and <= 1, got 1.2",
        ),
        ("kernels: {hopper: {link: {value: fast, from: mine}}}", "must be a finite number, got"),
        ("kernels: {hopper: {link: {value: true, from: mine}}}", "must be a finite number, got"),
        ("kernels: {hopper: {exchange: {value: all, from: mine}}}", "one of gather, alltoall"),
        ("engines: {generic: {kernel_time: {value: 0, from: mine}}}", "must be > 0, got 0"),
        ("engines: {generic: {shared_overlap: {value: 2, from: mine}}}", "must be >= 0 and <= 1"),
        ("engines: {generic: {step_overhead_ms: {value: -1, from: mine}}}", "must be >= 0, got -1"),
        (
            "engines: {generic: {kernel_time: {value: 1, from: mime}}}",
            'unknown source "mime" (allowed: mine; did you mean mine?)',
        ),
        ("engines: {generic: {kernel_time: 1}}", "a number needs a source: {value: …, from: …}"),
        ("kernels: {hopper: {exchange: gather}}", "needs a source: {value: …, from: …}"),
        ("engines: {generic: 3}", "0.yaml:3:20: engines.generic: must be a mapping of fields"),
        ("engines: {generic: {kernel_time: {from: mine}}}", "kernel_time: has no value"),
        ("engines: {generic: {kernel_time: {value: , from: mine}}}", "must be a finite number"),
        ("engines: {generic: {from: [a], kernel_time: 1}}", "generic.from: unknown source"),
        ("engines: 3", "engines: must be a mapping of records, got 3"),
        ("engines: {ours: {like: sglang-2025-12}}", "did you mean sglang-2025-11?"),
        ("engines: {generic: {like: kernels}}", "is for new profiles; generic is in the catalogue"),
        ("engines: {generic@hoper: {like: kernels}}", "unknown GPU generation, got"),
        ("engines: {a/b: {like: kernels}}", "may hold letters, digits, _, - and . only"),
        ("engines: {ours: {like: kernels}, ours: {}}", "is given twice"),
    ],
)
def test_a_wrong_overlay_says_where(written, body, text):
    found = said(SOURCE + body, written=written)
    assert len(found) == 1
    assert text in found[0]
    assert "0.yaml:" in found[0]


def test_sources_must_be_whole(written):
    found = said("sources: {mine: {kind: guess}, his: 3}\n", written=written)
    assert [line.split(": ", 1)[1] for line in found] == [
        "sources.mine.date: is missing",
        "sources.mine.source: is missing",
        'sources.mine.kind: must be one of measured, published, fitted, assumed, got "guess"',
        "sources.his: must be a mapping with kind, source and date, got 3",
    ]


@pytest.mark.parametrize("text", ["[1]", "sources: [", ""])
def test_a_profile_of_an_unread_overlay_is_not_called_unknown(written, text):
    with pytest.raises(ScenarioError) as caught:
        written(text, overrides=[f"{PROFILE}=ours"])
    (problem,) = caught.value.problems
    assert "0.yaml:1:" in str(problem)


def test_overlays_must_be_there(written, tmp_path):
    with pytest.raises(ScenarioError) as caught:
        written(OVERLAY, named=["no.yaml"], overrides=[f"{PROFILE}=ours"])
    (problem,) = caught.value.problems
    assert problem.path == "catalog_overlays[0]"
    assert problem.message == "no such catalogue overlay"
    with pytest.raises(ScenarioError, match=r"^--overlay no: catalog_overlays\[1\]: no such"):
        written(OVERLAY, given=["no"])
    with pytest.raises(ScenarioError, match="catalog_overlays: must be a list"):
        written(OVERLAY, overrides=["catalog_overlays=x.yaml"])
    with pytest.raises(ScenarioError, match=r"catalog_overlays\[0\]: must be text"):
        written(OVERLAY, overrides=["catalog_overlays=[3]"])
    with pytest.raises(InputError, match="cannot be read"):
        read_overlays([tmp_path / "no.yaml"])


def test_changes_can_be_stated_in_the_scenario(minimal, problems):
    change = {"kind": "measured", "source": "here", "date": "2026-11"}
    minimal["catalog_changes"] = {"engines": {"generic": {"kernel_time": {"value": 2, **change}}}}
    assert catalog_of(load(minimal)).engines["generic"].kernel_time == 2.0
    minimal["catalog_changes"]["engines"]["generic"] = {
        "kernel_tim": {"value": 2, **change},
        "expert_time": {"value": 0, **change},
    }
    found = problems(minimal)
    assert set(found) == {
        "catalog_changes.engines.generic.kernel_tim",
        "catalog_changes.engines.generic.expert_time",
    }
    assert found["catalog_changes.engines.generic.kernel_tim"].nearest == "kernel_time"


def test_the_shipped_records_keep_to_the_bounds():
    data = {
        section: {name: as_changes(spec, section) for name, spec in records.items()}
        for section in SECTIONS
        for records in [getattr(catalog(), section)]
    }
    changes = Changes.model_validate(data)
    assert list(change_problems(changes, catalog())) == []
    for _, records in changes.sections:
        for fields in records.values():
            assert all(change.source != "the shipped catalogue" for change in fields.values())


def test_overlays_cross_to_other_processes(tmp_path):
    file = tmp_path / "o.yaml"
    file.write_text(OVERLAY)
    known = read_overlays([file]).catalog
    assert pickle.loads(pickle.dumps(known)) == known


def test_memory_holds_the_state_of_linear_attention(minimal):
    minimal["deployments"][0]["model"] = "qwen3.5-397b-a17b"
    minimal["deployments"][0]["precision"] = {"weights": "fp8"}
    pool = minimal["deployments"][0]["pools"][0]
    pool["parallel"] = {"tp": 8, "ep": 8}

    def plan(seqs):
        pool["engine"] = {"max_num_seqs": seqs}
        scenario = load(minimal)
        deployment = scenario.deployments[0]
        known = catalog_of(scenario)
        made = build_memory(deployment.pools[0], deployment, known, scenario)
        return made, known.models[deployment.model]

    few, model = plan(16)
    many, _ = plan(256)
    layout = Layout(tp=8, ep=8)
    assert few.state_bytes == 16 * state_bytes_per_sequence_per_gpu(model, layout) > 0
    assert many.state_bytes == 16 * few.state_bytes
    assert many.kv_capacity_tokens < few.kv_capacity_tokens
