"""A YAML document as plain data, with the place of every value.

Reads the node graph rather than built objects, so that every duplicate key is found at once and
each value keeps its line and column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from factory.errors import Problem

_MERGE = "tag:yaml.org,2002:merge"
_SCALARS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp")
)


@dataclass(slots=True)
class Locations:
    """Where each path of a document was written: ``file:line:column``, or the flag that set it.

    Two documents that say the same are equal wherever they stand, so all instances are equal.
    """

    values: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Locations)

    __hash__ = None  # type: ignore[assignment]

    def of(self, path: str) -> str | None:
        """The place of a value, or of the nearest part around it that was written."""
        for candidate in _outwards(path):
            if candidate in self.values:
                return self.values[candidate]
        return None

    def of_key(self, path: str) -> str | None:
        """The place of a key, or else of its value."""
        return self.keys.get(path) or self.of(path)

    def replace(self, path: str, place: str) -> None:
        """Forget everything at and under ``path``; it now comes from ``place``."""
        for table in (self.values, self.keys):
            for known in [known for known in table if is_within(known, path)]:
                del table[known]
        self.values[path] = self.keys[path] = place


@dataclass(slots=True)
class Document:
    """A document as plain data.

    Attributes:
        data: dicts, lists and scalars; None if it could not be read at all.
        locations: where each path was written.
        problems: what was wrong with it as YAML.
    """

    data: object = None
    locations: Locations = field(default_factory=Locations)
    problems: list[Problem] = field(default_factory=list)


def is_within(path: str, outer: str) -> bool:
    """Whether ``path`` is ``outer`` or lies under it."""
    return path == outer or (path.startswith(outer) and (not outer or path[len(outer)] in ".["))


def join(path: str, part: str | int) -> str:
    """``path`` extended by a key or an index."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    return f"{path}.{part}" if path else part


def read(content: bytes, label: str) -> Document:
    """Parse a YAML file.

    Args:
        content: the bytes of the file.
        label: its name in messages.

    Returns:
        The document; ``problems`` says what was wrong with it.
    """
    document = Document()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        byte = f"0x{content[error.start]:02x}"
        document.problems.append(
            Problem("", f"is not UTF-8: byte {byte}", location=f"{label}:{line}:{column}")
        )
        return document
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        document.problems.append(_syntax_problem(error, label, text))
        return document
    except YAMLError as error:
        # A character YAML does not allow: its reader knows an offset, not a line.
        reason = str(error).splitlines()[0]
        read_so_far = text[: getattr(error, "position", None) or 0]
        line = read_so_far.count("\n") + 1
        column = len(read_so_far) - read_so_far.rfind("\n")
        place = f"{label}:{line}:{column}"
        document.problems.append(Problem("", f"not readable as YAML: {reason}", location=place))
        return document
    if node is None:
        document.problems.append(Problem("", "is empty", location=f"{label}:1:1"))
        return document
    document.data = _Builder(label, document).build(node, "", ())
    return document


def parse_value(text: str) -> object:
    """A single value as YAML reads it: ``8`` a number, ``fp8`` a string, ``[1, 2]`` a list.

    Raises:
        ValueError: it is not YAML.
    """
    document = read(text.encode(), "value")
    if document.problems and text.strip():
        raise ValueError(document.problems[0].message)
    return document.data


class _Builder:
    """Turns nodes into plain data and notes places and problems on the way."""

    def __init__(self, label: str, document: Document) -> None:
        self._label = label
        self._document = document
        self._constructor = YAML(typ="safe", pure=True).constructor

    def build(self, node: Node, path: str, above: tuple[int, ...]) -> object:
        place = self._place(node)
        self._document.locations.values.setdefault(path, place)
        if id(node) in above:
            self._problem(path, "an alias contains itself", place)
            return None
        above = (*above, id(node))
        if isinstance(node, MappingNode):
            return self._mapping(node, path, above)
        if isinstance(node, SequenceNode):
            return [
                self.build(item, join(path, index), above) for index, item in enumerate(node.value)
            ]
        return self._scalar(node, path, place)

    def _mapping(self, node: MappingNode, path: str, above: tuple[int, ...]) -> dict[str, object]:
        result: dict[str, object] = {}
        merged: list[Node] = []
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged.append(value_node)
                continue
            if not isinstance(key_node, ScalarNode):
                self._problem(path, "a key must be a plain name", self._place(key_node))
                continue
            key = str(key_node.value)
            child = join(path, key)
            if key in lines:
                message = f"is given twice, first on line {lines[key]}"
                self._problem(child, message, self._place(key_node))
                continue
            lines[key] = key_node.start_mark.line + 1
            self._document.locations.keys[child] = self._place(key_node)
            result[key] = self.build(value_node, child, above)
            if value_node.start_mark.index == value_node.end_mark.index:
                # Nothing is written after the key; the parser is already at the next line.
                self._document.locations.values[child] = self._place(key_node)
        for value_node in merged:
            for key, value in self._merged(value_node, path, above):
                result.setdefault(key, value)
        return result

    def _merged(
        self, node: Node, path: str, above: tuple[int, ...]
    ) -> Iterator[tuple[str, object]]:
        """The entries that ``<<:`` brings in; the first of several mappings wins."""
        parts = node.value if isinstance(node, SequenceNode) else [node]
        for part in parts:
            data = self.build(part, path, above)
            if isinstance(data, dict):
                yield from data.items()
            else:
                self._problem(path, "<< takes a mapping", self._place(node))

    def _scalar(self, node: Node, path: str, place: str) -> object:
        if node.tag not in _SCALARS:
            self._problem(path, f"has a tag that is not understood: {node.tag}", place)
            return None
        if node.tag.endswith(":timestamp"):
            return str(node.value)
        try:
            value: object = self._constructor.construct_object(node)
        except (ValueError, YAMLError):
            return str(node.value)
        return value

    def _place(self, node: Node) -> str:
        return f"{self._label}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def _problem(self, path: str, message: str, place: str) -> None:
        self._document.problems.append(Problem(path, message, location=place))


def _syntax_problem(error: MarkedYAMLError, label: str, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Problem("", f"not readable as YAML: {error}", location=label)
    place = f"{label}:{mark.line + 1}:{mark.column + 1}"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: mark.column + 1]:
        return Problem("", "a tab; YAML is indented with spaces", location=place)
    if "another document" in str(error.problem):
        return Problem("", "a second document starts here; a file holds one", location=place)
    message = f"not readable as YAML: {error.problem}"
    if error.context and error.context_mark and error.context_mark.line != mark.line:
        message += f" ({error.context} from line {error.context_mark.line + 1})"
    return Problem("", message, location=place)


def _outwards(path: str) -> Iterator[str]:
    """``a.b[0].c``, ``a.b[0]``, ``a.b``, ``a`` and the empty path."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    yield ""
