from __future__ import annotations

import json

import pytest

from factory.errors import InputError, ScenarioError
from factory.scenario import load, locate, resolved
from factory.scenario.loader import check
from factory.scenario.workloads import read_workload, shipped_workloads

OWN = """\
name: own
description: A workload of one's own
tenants:
  - name: askers
    slo: {ttft_s: 2, itl_ms: 50}
    input_tokens: {distribution: lognormal, mu: 5, sigma: 1, max: 4000}
    output_tokens: 100
    session:
      growth: true
      turns: 3
      think_time_s: 20
  - name: batch
    input_tokens: 5000
    output_tokens: 300
mix:
  shares: {askers: 0.75, batch: 0.25}
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.yaml").write_text(OWN)
    return tmp_path


def using(minimal, workload, folder=None):
    minimal["workload"] = workload
    if folder is None:
        return minimal
    file = folder / "scenario.yaml"
    file.write_text(json.dumps(minimal, indent=1))  # JSON is YAML
    return str(file)


def like(minimal, name, **stated):
    tenant = {"name": "people", "like": name, "load": {"rate": 1}, **stated}
    return using(minimal, {"tenants": [tenant]})


@pytest.mark.parametrize("name", shipped_workloads())
def test_a_shipped_workload_is_sound_and_says_where_it_comes_from(minimal, name):
    shipped = read_workload(name)
    assert shipped.name == name
    assert shipped.description
    assert shipped.sources
    workload = {"use": name}
    if "mix" in shipped.data:
        workload["mix"] = {"rate": 1}
    else:
        workload["tenants"] = [{"name": each, "load": {"rate": 1}} for each in shipped.tenants]
    pool = minimal["deployments"][0]["pools"][0]
    pool["engine"] = {"max_model_len": 131072}
    assert check(load(using(minimal, workload))) == []


@pytest.mark.parametrize("name", shipped_workloads())
def test_every_stated_field_has_a_source(name):
    """A source's `of` is a field that the file states; together they cover all of them."""
    from factory.scenario.document import read
    from factory.scenario.resources import configs

    data = read((configs() / "workloads" / f"{name}.yaml").read_bytes(), name).data
    stated = {"mix"} if "mix" in data else set()
    for tenant in data["tenants"]:
        stated |= set(fields(tenant)) - {"name", "like"}
    sources = [item for source in read_workload(name).sources for item in source.of]
    for source in sources:
        assert any(is_part(field, source) for field in stated), source
    for field in stated - {"session.growth"}:
        assert any(is_part(field, source) for source in sources), field


def is_part(field, outer):
    return field == outer or field.startswith(f"{outer}.")


SECTIONS = {
    "documents",
    "shared_prefix",
    "session",
    "session.compaction",
    "session.edits",
    "session.subagents",
    "session.tools",
}


def fields(tenant, outer=""):
    for key, value in tenant.items():
        path = f"{outer}{key}"
        if path in SECTIONS:
            yield from fields(value, f"{path}.")
        else:
            yield path


def test_like_fills_in_what_is_not_stated(minimal):
    scenario = load(like(minimal, "chat", slo={"itl_ms": 20}, session={"turns": 4}))
    (tenant,) = scenario.workload.tenants
    shipped = read_workload("chat").data["tenants"][0]
    assert tenant.name == "people"
    assert tenant.like is None
    assert (tenant.slo.ttft_s, tenant.slo.itl_ms) == (shipped["slo"]["ttft_s"], 20)
    assert tenant.session.turns.value == 4
    assert tenant.session.growth
    assert tenant.output_tokens.quantiles[0] == (0, 7)


def test_a_stated_distribution_replaces_a_whole_one(minimal):
    scenario = load(like(minimal, "chat", input_tokens={"distribution": "exponential", "mean": 9}))
    assert scenario.workload.tenants[0].input_tokens.max is None


def test_stated_bounds_alone_tighten_a_distribution(minimal):
    first = {"first_input_tokens": {"max": 5000}}
    scenario = load(like(minimal, "coding-agent", session=first))
    length = scenario.workload.tenants[0].session.first_input_tokens
    assert length.max == 5000
    assert length.quantiles


def test_turns_stand_in_place_of_requests(minimal):
    scenario = load(like(minimal, "coding-agent", session={"turns": 2}))
    assert scenario.workload.tenants[0].session.requests is None


def test_a_stated_first_prompt_leaves_no_correlation_behind(minimal):
    scenario = load(like(minimal, "coding-agent", session={"first_input_tokens": 20000}))
    assert scenario.workload.tenants[0].session.first_input_correlation == 0
    first = {"first_input_tokens": {"max": 90000}}
    scenario = load(like(minimal, "coding-agent", session=first))
    assert scenario.workload.tenants[0].session.first_input_correlation == -0.33


def test_a_closed_loop_needs_no_shape_of_arrivals(minimal):
    workload = {"tenants": [{"like": "code-completion", "load": {"concurrency": 3}}]}
    tenant = load(using(minimal, workload)).workload.tenants[0]
    assert tenant.name == "code-completion"
    assert tenant.load.arrival == "poisson"
    workload = {"tenants": [{"like": "code-completion", "load": {"rate": 3}}]}
    tenant = load(using(minimal, workload)).workload.tenants[0]
    assert (tenant.load.arrival, tenant.load.cv) == ("gamma", 13)


def test_use_takes_all_tenants_and_the_mix(minimal, own):
    stated = {
        "use": "own.yaml",
        "tenants": [{"name": "batch", "priority": -1}],
        "mix": {"rate": 2, "hold": "tokens"},
    }
    workload = load(using(minimal, stated, own)).workload
    assert [tenant.name for tenant in workload.tenants] == ["batch", "askers"]
    assert workload.tenants[0].priority == -1
    assert workload.tenants[0].input_tokens.value == 5000
    assert workload.mix.shares == {"askers": 0.75, "batch": 0.25}
    assert (workload.mix.rate, workload.mix.hold) == (2, "tokens")


def test_a_mix_of_null_is_none(minimal, own):
    loads = [{"name": name, "load": {"rate": 1}} for name in ("askers", "batch")]
    stated = {"use": "own.yaml", "tenants": loads, "mix": None}
    assert load(using(minimal, stated, own)).workload.mix is None


def test_a_stated_schedule_stands_in_place_of_shares(minimal, own):
    schedule = [{"at_s": 0, "shares": {"askers": 1.0}}, {"at_s": 9, "shares": {"batch": 1.0}}]
    stated = {"use": "own.yaml", "mix": {"rate": 1, "schedule": schedule}}
    mix = load(using(minimal, stated, own)).workload.mix
    assert mix.shares is None
    assert len(mix.schedule) == 2


def test_the_resolved_scenario_stands_alone(minimal):
    scenario = load(using(minimal, {"use": "mixed-2026", "mix": {"rate": 1}}))
    again = load(resolved(scenario))
    assert again == scenario
    assert resolved(again) == resolved(scenario)


def test_flags_reach_into_what_is_used_and_may_change_it(minimal):
    source = using(minimal, {"use": "mixed-2026", "mix": {"rate": 1}})
    scenario = load(source, ["workload.tenants[chat].output_tokens=9", "workload.mix.rate=3"])
    chat = next(each for each in scenario.workload.tenants if each.name == "chat")
    assert chat.output_tokens.value == 9
    assert scenario.workload.mix.rate == 3
    scenario = load(
        source,
        ["workload.use=reasoning", "workload.mix=null", "workload.tenants[0].load={rate: 2}"],
    )
    assert [each.name for each in scenario.workload.tenants] == ["reasoning"]
    source = like(minimal, "chat")
    scenario = load(source, ["workload.tenants[people].like=reasoning"])
    assert scenario.workload.tenants[0].session.turns.value == 1


def test_places_are_those_where_each_value_was_written(minimal, own):
    stated = {"use": "own.yaml", "tenants": [{"name": "askers", "priority": 3}], "mix": {"rate": 1}}
    scenario = load(using(minimal, stated, own))
    assert "scenario.yaml" in locate(scenario, "workload.tenants[0].priority")
    place = locate(scenario, "workload.tenants[0].output_tokens")
    assert place == f"{own / 'own.yaml'}:7:20"
    assert locate(scenario, "workload.tenants[0].session.think_time_s").endswith("own.yaml:11:21")
    assert locate(scenario, "workload.tenants[1].input_tokens").endswith("own.yaml:13:19")
    shipped = load(like(minimal, "chat"))
    place = locate(shipped, "workload.tenants[0].session.turns")
    assert place.startswith("configs/workloads/chat.yaml:")


def test_a_wrong_value_of_a_workload_file_is_told_at_its_line(minimal, own, problems):
    (own / "own.yaml").write_text(OWN.replace("output_tokens: 100", "output_tokens: many"))
    told = problems(using(minimal, {"use": "own.yaml", "mix": {"rate": 1}}, own))
    assert told["workload.tenants[0].output_tokens"].location == f"{own / 'own.yaml'}:7:20"


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("chatt", "no such workload", "chat"),
        ("coding", "no such workload", "coding-agent"),
        ("mixed-2026", "holds several tenants; name one", None),
        ("mixed-2026/chart", "the workload has no such tenant", "mixed-2026/chat"),
        ("elsewhere/chat.yaml", "no such workload file", "chat"),
        (3, "must be the name of a workload or the path of one", None),
    ],
)
def test_what_leads_nowhere_is_told_with_the_nearest_name(minimal, problems, name, message, hint):
    told = problems(like(minimal, name))
    assert list(told) == ["workload.tenants[0].like"]
    problem = told["workload.tenants[0].like"]
    assert problem.message == message
    assert problem.nearest == hint
    assert problem.got == name


def test_an_unknown_workload_is_the_only_thing_told(minimal, problems):
    told = problems(using(minimal, {"use": "mixd-2026", "mix": {"rate": 1, "shares": {"chat": 1}}}))
    assert list(told) == ["workload.use"]
    assert told["workload.use"].nearest == "mixed-2026"
    assert "allowed" in str(told["workload.use"])


def test_a_mix_without_a_rate_is_told(minimal, problems):
    told = problems(using(minimal, {"use": "mixed-2026"}))
    assert told["workload.mix.rate"].message.startswith("is missing: Of what is held per second")


def test_a_workload_may_take_from_another_beside_it(minimal, own):
    (own / "more").mkdir()
    (own / "more" / "two.yaml").write_text(
        "tenants:\n  - {name: late, like: ../own.yaml/askers, output_tokens: 7}\n"
    )
    tenants = [{"like": "more/two.yaml", "load": {"rate": 1}}]
    (tenant,) = load(using(minimal, {"tenants": tenants}, own)).workload.tenants
    assert (tenant.name, tenant.output_tokens.value) == ("late", 7)
    assert tenant.session.turns.value == 3


def test_a_workload_that_leads_back_to_itself_is_told(minimal, own, problems):
    (own / "one.yaml").write_text("tenants: [{name: a, like: two.yaml}]")
    (own / "two.yaml").write_text("tenants: [{name: a, like: one.yaml}]")
    told = problems(using(minimal, {"tenants": [{"like": "one.yaml"}]}, own))
    assert any("leads back to itself" in problem.message for problem in told.values())


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("tenants: 3", "tenants", "must be a list of tenants"),
        ("- a", "", "must be a mapping with name, description, sources and tenants"),
        ("tenents: []\ntenants: [{name: a}]", "tenents", "unknown field"),
        ("tenants: [{nam: a}]", "tenants[0]", "must be a mapping with a name"),
        ("tenants: [{name: a}]\nmix: 3", "mix", "must be a mapping"),
        ("tenants: [{name: a}]\nsources: here", "sources", "must be a list of"),
        ("tenants: [{name: a}]\nsources: [{kind: fitted}]", "sources[0].date", "is missing"),
        (
            "tenants: [{name: a}]\nsources: [{kind: guess, source: me, date: now, of: b}]",
            "sources[0].kind",
            "is not one of the choices",
        ),
    ],
)
def test_a_file_that_is_no_workload_says_why(tmp_path, text, path, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_workload("bad.yaml", tmp_path)
    found = {problem.path: problem for problem in caught.value.problems}
    assert found[path].message.startswith(message)
    assert "bad.yaml:" in found[path].location


def test_no_such_workload_by_name():
    with pytest.raises(InputError, match="did you mean reasoning"):
        read_workload("resoning")


@pytest.mark.parametrize(
    "workload",
    [
        {"use": ["chat"]},
        {"use": "chat", "tenants": "all"},
        {
            "use": "chat",
            "tenants": [3, {"name": ["chat"]}, {"like": {}}, {"like": "chat", "load": 3}],
        },
        {"use": "mixed-2026", "mix": 3},
        {"use": "mixed-2026", "mix": {"shares": ["chat"], "rate": "fast"}},
        {"tenants": {"like": "chat"}},
        {"use": "chat", "tenants": [{"name": "chat", "session": 3, "slo": {"ttft_s": "soon"}}]},
    ],
)
def test_nonsense_is_told_and_never_a_fault(minimal, problems, workload):
    assert problems(using(minimal, workload))


def test_shares_of_ones_own_leave_tenants_out(minimal):
    mix = {"rate": 4, "shares": {"chat": 0.75, "rag": 0.25}, "toward": {"coding-agent": 1.0}}
    made = load(using(minimal, {"use": "mixed-2026", "mix": mix}))
    assert [tenant.name for tenant in made.workload.tenants] == ["chat", "rag", "coding-agent"]
    named = {
        "use": "mixed-2026",
        "mix": mix,
        "tenants": [{"name": "reasoning", "load": {"rate": 1}}],
    }
    made = load(using(minimal, named))
    assert {tenant.name for tenant in made.workload.tenants} == {
        "reasoning", "chat", "rag", "coding-agent",
    }  # fmt: skip
