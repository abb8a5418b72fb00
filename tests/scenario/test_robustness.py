"""Whatever is in a scenario, loading it ends in a scenario or in a message."""

from __future__ import annotations

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import ScenarioError
from factory.scenario import load, resolved
from factory.scenario.document import read

WHOLE = resolved(
    load("quickstart", ["workload.trace={format: azure, path: x, tenant: t}",
                        "workload.tenants[1]={name: t}", "prices.covers=null"])
)  # fmt: skip


def places(value, path=()):
    """Every place of a document, as keys and indices."""
    yield path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from places(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from places(child, (*path, index))


PLACES = [path for path in places(WHOLE) if path]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**20),
    st.floats(),
    st.sampled_from(["", "2s", "prefill", "nvl72", "r1", "\x00", "é", "1e400", "-", "[x]"]),
    st.sampled_from([[], {}, [[]], [{}], {"a": 1}, {"distribution": "pareto"}, [1, 2]]),
)


def put(data, path, value):
    """Write into a document where that is still possible."""
    *outer, last = path
    for part in outer:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return
    is_item = isinstance(data, list) and isinstance(last, int) and last < len(data)
    if is_item or isinstance(data, dict):
        data[last] = value


def outcome(data, overrides=()):
    """The scenario or its problems; any other exception is a failure."""
    try:
        return load(data, overrides), []
    except ScenarioError as error:
        return None, error.problems


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=1, max_size=4))
def test_any_wrong_values_end_in_messages(changes):
    data = copy.deepcopy(WHOLE)
    for path, value in changes:
        put(data, path, copy.deepcopy(value))
    scenario, problems = outcome(data)
    assert all(str(problem) for problem in problems)
    if scenario is not None:
        assert load(resolved(scenario)) == scenario


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text("ab:-[]{}&*!|>'\"#%\t\n ,?1", max_size=60)))
def test_any_bytes_are_read_or_refused_with_a_place(content):
    raw = content.encode() if isinstance(content, str) else content
    document = read(raw, "x.yaml")
    for problem in document.problems:
        assert problem.location.startswith("x.yaml:")


@settings(max_examples=100, deadline=None)
@given(st.text("abrun.=[]01{}:dname_-s ", max_size=30))
def test_any_override_is_applied_or_refused(override):
    scenario, problems = outcome(WHOLE, [override])
    assert (scenario is None) == bool(problems)
