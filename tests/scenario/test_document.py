from __future__ import annotations

import pytest

from factory.scenario.document import is_within, parse_value, read


def test_every_value_and_key_has_its_place():
    document = read(b"a: 1\nb:\n  - c: two\n    d: [3, 4.5]\n", "x.yaml")
    assert document.data == {"a": 1, "b": [{"c": "two", "d": [3, 4.5]}]}
    assert document.locations.of("a") == "x.yaml:1:4"
    assert document.locations.of("b[0].d[1]") == "x.yaml:4:12"
    assert document.locations.of_key("b[0].c") == "x.yaml:3:5"


def test_the_place_of_what_is_not_written_is_that_of_the_part_around_it():
    document = read(b"a:\n  b: 1\n", "x.yaml")
    assert document.locations.of("a.c.d[3]") == "x.yaml:2:3"
    assert document.locations.of("z") == "x.yaml:1:1"


def test_merges_bring_in_what_is_not_given():
    document = read(b"a: &a {b: 1, c: 2}\nd:\n  <<: *a\n  c: 3\n", "x.yaml")
    assert document.data["d"] == {"b": 1, "c": 3}
    assert document.locations.of("d.c") == "x.yaml:4:6"


def test_dates_stay_text():
    assert read(b"a: 2026-01-01T00:00:00Z", "x").data == {"a": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "x.yaml:1:1: is empty"),
        (b"# nothing\n", "x.yaml:1:1: is empty"),
        (b"a:\n\t- b\n", "x.yaml:2:1: a tab; YAML is indented with spaces"),
        (b"a: 1\nb: \xff\n", "x.yaml:2:4: is not UTF-8: byte 0xff"),
        (b"a: 1\n---\nb: 1\n", "x.yaml:2:1: a second document starts here; a file holds one"),
        (b"a: 1\nb\x01: 2\n", "x.yaml:2:2: not readable as YAML: unacceptable character"),
        (b"a: [1,\n", "x.yaml:2:1: not readable as YAML"),
        (b"a: *nope\n", "x.yaml:1:4: not readable as YAML: found undefined alias 'nope'"),
        (b"a: b: c\n", "x.yaml:1:5: not readable as YAML"),
    ],
)
def test_what_is_not_yaml_is_said_with_its_line(content, text):
    document = read(content, "x.yaml")
    assert document.data is None
    assert [str(problem)[: len(text)] for problem in document.problems] == [text]


def test_all_duplicate_keys_are_found_at_once():
    document = read(b"a: 1\na: 2\nb:\n  c: 1\n  c: 2\n", "x.yaml")
    assert [str(problem) for problem in document.problems] == [
        "x.yaml:2:1: a: is given twice, first on line 1",
        "x.yaml:5:3: b.c: is given twice, first on line 4",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: &x [*x]\n", "an alias contains itself"),
        (b"a: !!python/name:os.system x\n", "has a tag that is not understood"),
        (b"? [a]\n: 1\n", "a key must be a plain name"),
        (b"a:\n  <<: 3\n", "<< takes a mapping"),
    ],
)
def test_what_yaml_allows_and_a_scenario_does_not(content, message):
    (problem,) = read(content, "x.yaml").problems
    assert problem.message.startswith(message)


def test_a_byte_order_mark_is_ignored():
    assert read(b"\xef\xbb\xbfa: 1", "x").data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [("8", 8), ("fp8", "fp8"), ("[1, 2]", [1, 2]), ("null", None), ("", None), ("true", True)],
)
def test_a_single_value_reads_as_yaml(text, value):
    assert parse_value(text) == value


def test_within_is_by_whole_parts():
    assert is_within("a.b", "a")
    assert is_within("a[0]", "a")
    assert is_within("a", "")
    assert not is_within("ab", "a")
