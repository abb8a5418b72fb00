"""The house holds: imports go down the layers, modules stay small, the public door stays narrow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import factory

PACKAGE = Path(factory.__file__).parent

# Top to bottom. Names on one line are siblings, which never import each other.
LAYERS = (
    ("cli",),
    ("studies", "report", "validation"),
    ("simulation", "testing"),
    ("serving",),
    ("facility",),
    ("workload", "performance", "power", "economics"),
    ("records", "statistics"),
    ("scenario",),
    ("units", "errors", "kernel"),
)
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
BOTTOM = len(LAYERS) - 1

MAX_PUBLIC_NAMES = 15
MAX_LINES = 500
# Module → why it is longer than MAX_LINES.

# Pure folders: nothing in them knows what a SimPy environment is.
PURE = (
    "scenario",
    "performance",
    "power",
    "workload",
    "records",
    "economics",
    "statistics",
    "report",
    "validation",
    "units",
    "errors",
)
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"), filename=module)


def part_of(module: str) -> str:
    """The layer member a module belongs to: its folder, or its own name at the top level."""
    return module.split("/", maxsplit=1)[0].removesuffix(".py")


def imports_of(tree: ast.AST, module: str) -> Iterator[tuple[str, int]]:
    """Every absolute name a module imports, with the line: at the top, in functions, for types."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def broken_import(part: str, imported: str) -> str | None:
    """Why `part` may not import `imported`, or None."""
    words = imported.split(".")
    if words[0] != "factory" or words == ["factory", "__version__"]:
        return None
    target = words[1] if len(words) > 1 else "factory"
    if target not in DEPTH:
        return f"{imported}: not in a known layer"
    if target == part or DEPTH[target] > DEPTH[part]:
        return None
    if DEPTH[target] == BOTTOM and DEPTH[part] == BOTTOM:
        return None
    kind = "a sibling" if DEPTH[target] == DEPTH[part] else "a higher layer"
    return f"{imported}: {kind} of {part}"


@pytest.mark.parametrize("module", [m for m in MODULES if m != "__init__.py"])
def test_imports_go_down_the_layers(module: str) -> None:
    part = part_of(module)
    assert part in DEPTH, f"{part} has no layer: add it to LAYERS and to the design"
    broken = [
        f"factory/{module}:{line}: {why}"
        for name, line in imports_of(tree_of(module), module)
        if (why := broken_import(part, name))
    ]
    assert not broken, "\n".join(broken)


def test_the_import_rule_can_fail() -> None:
    assert broken_import("economics", "factory.serving.routers") is not None
    assert broken_import("power", "factory.performance.work") is not None
    assert broken_import("report", "factory.validation.laws") is not None
    assert broken_import("serving", "factory.nowhere") is not None
    assert broken_import("records", "factory.simulate") is not None
    assert broken_import("simulation", "factory.serving.routers") is None
    assert broken_import("serving", "factory.serving.kv_cache") is None


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) in PURE])
def test_pure_folders_do_not_know_simpy(module: str) -> None:
    used = [
        f"factory/{module}:{line}"
        for name, line in imports_of(tree_of(module), module)
        if name.split(".")[0] == "simpy"
    ]
    assert not used, used


def iterates_a_set(node: ast.AST) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"set", "frozenset"}
    )


def set_loops(tree: ast.AST) -> list[int]:
    """Lines that loop over a set written in place: its order changes with PYTHONHASHSEED."""
    loops = (n for n in ast.walk(tree) if isinstance(n, ast.For | ast.comprehension))
    return [loop.iter.lineno for loop in loops if iterates_a_set(loop.iter)]


@pytest.mark.parametrize("module", MODULES)
def test_no_loop_runs_over_a_set(module: str) -> None:
    assert not set_loops(tree_of(module)), f"factory/{module}: sort it first"


def test_the_set_rule_can_fail() -> None:
    assert set_loops(ast.parse("for x in {1, 2}: pass\n[y for y in set(z)]")) == [1, 2]
    assert not set_loops(ast.parse("for x in sorted({1, 2}): pass"))


def test_modules_stay_small() -> None:
    sizes = {m: len((PACKAGE / m).read_text(encoding="utf-8").splitlines()) for m in MODULES}
    longest = sorted(sizes.items(), key=lambda item: -item[1])[:10]
    print("longest modules:", ", ".join(f"{module} {lines}" for module, lines in longest))
    too_long = {m: n for m, n in sizes.items() if n > MAX_LINES}
    assert not too_long, f"would two ideas part here? {too_long}"


def test_public_names() -> None:
    assert factory.__all__ == [
        "FactoryError",
        "InputError",
        "RunError",
        "RunResult",
        "Scenario",
        "ScenarioError",
        "__version__",
        "catalog",
        "check_run",
        "load",
        "simulate",
        "summarize",
    ]
    assert len(factory.__all__) <= MAX_PUBLIC_NAMES
    assert dir(factory) == sorted(factory.__all__)


@pytest.mark.parametrize("name", factory.__all__)
def test_every_public_name_imports(name: str) -> None:
    assert getattr(factory, name) is not None


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        _ = factory.simulat  # type: ignore[attr-defined]


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, factory\n"
        "heavy = {'numpy', 'pyarrow', 'pydantic', 'simpy', 'rich', 'typer', 'duckdb', 'altair'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"
