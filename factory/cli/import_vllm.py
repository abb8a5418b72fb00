"""``factory import``: the flags of a serving engine as a scenario."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from factory.cli.failures import say, told_plainly

if TYPE_CHECKING:
    from factory.scenario import Catalog
    from factory.scenario.engine_fragment import Demand, Fragment
    from factory.scenario.engine_import import Options, Plan

EngineName = Literal["vllm", "sglang"]

import_app = typer.Typer(
    help="A serving engine's command line as a scenario.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

CommandArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="COMMAND…",
        help="The command in quotes, a file that holds it, or - for standard input. Several make "
        "one deployment of several pools.",
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write there.  [default: stdout]")
]
SystemOption = Annotated[
    str | None,
    typer.Option("--system", metavar="NAME", help="Make a whole scenario on racks of this system."),
]
RateOption = Annotated[
    float, typer.Option("--rate", metavar="R", help="With --system: requests per second.")
]
InputOption = Annotated[
    int, typer.Option("--input", min=1, metavar="N", help="With --system: mean prompt, tokens.")
]
OutputOption = Annotated[
    int, typer.Option("--output", min=1, metavar="N", help="With --system: output, tokens.")
]
ReplicasOption = Annotated[
    int, typer.Option("--replicas", min=1, metavar="N", help="Servers that run the command.")
]
RoleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--role",
        metavar="ROLE",
        help="prefill, decode or aggregated, where flags do not say. Once for each command.",
    ),
]
AcceptanceOption = Annotated[
    str | None,
    typer.Option(
        "--acceptance",
        metavar="P1,P2,…",
        help="Chance of each draft to be accepted after those before it.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--hf-config", metavar="FILE", help="The model's config.json, if no catalogue has it."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of an import."""

    out: Path | None
    system: str | None
    rate: float
    input_tokens: int
    output_tokens: int
    replicas: int
    roles: Sequence[str]
    acceptance: str | None
    hf_config: Path | None
    as_json: bool


@import_app.callback()
def import_() -> None:
    """A serving engine's command line as a scenario."""


@import_app.command("vllm")
def import_vllm(
    commands: CommandArgument,
    out: OutOption = None,
    system: SystemOption = None,
    rate: RateOption = 1.0,
    input_tokens: InputOption = 1024,
    output_tokens: OutputOption = 256,
    replicas: ReplicasOption = 1,
    role: RoleOption = None,
    acceptance: AcceptanceOption = None,
    hf_config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a `vllm serve` command (or the older api_server, or a docker run of its image)."""
    with told_plainly():
        roles = role or ()
        asked = Asked(
            *(out, system, rate, input_tokens, output_tokens, replicas, roles),
            *(acceptance, hf_config, as_json),
        )
        import_commands("vllm", commands, asked)


@import_app.command("sglang")
def import_sglang(
    commands: CommandArgument,
    out: OutOption = None,
    system: SystemOption = None,
    rate: RateOption = 1.0,
    input_tokens: InputOption = 1024,
    output_tokens: OutputOption = 256,
    replicas: ReplicasOption = 1,
    role: RoleOption = None,
    acceptance: AcceptanceOption = None,
    hf_config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read a `python -m sglang.launch_server` command."""
    with told_plainly():
        roles = role or ()
        asked = Asked(
            *(out, system, rate, input_tokens, output_tokens, replicas, roles),
            *(acceptance, hf_config, as_json),
        )
        import_commands("sglang", commands, asked)


def import_commands(engine: EngineName, commands: Sequence[str], asked: Asked) -> None:
    """Write the scenario, or the fragment, that the commands make.

    What sets nothing because it is unknown or not modelled is told on standard error too.

    Raises:
        FactoryError: A command, a flag or an option cannot be used.
    """
    from factory.cli.output import print_json
    from factory.errors import InputError

    made = _made(engine, _texts(commands), asked)
    for one in made.left:
        if one.sort != "no_effect":
            say(f"{one.sort.replace('_', ' ')}: {' '.join(one.written.split())}: {one.why}")
    if asked.out is not None:
        try:
            asked.out.write_text(made.text, encoding="utf-8")
        except OSError as error:
            raise InputError(f"--out {asked.out}: cannot be written: {error.strerror}") from None
    if asked.as_json:
        sorts = ("unknown", "not_modelled", "no_effect")
        print_json(
            {
                "engine": engine,
                "defaults_from": made.version,
                "out": None if asked.out is None else str(asked.out),
                "scenario" if asked.system else "fragment": made.data,
                "values": [
                    {"path": path, "value": value.value, "from": value.source}
                    for path, value in made.values
                ],
                **{
                    sort: [
                        {"given": one.written, "why": one.why}
                        for one in made.left
                        if one.sort == sort
                    ]
                    for sort in sorts
                },
            }
        )
    elif asked.out is None:
        sys.stdout.write(made.text)
    else:
        say(f"wrote {asked.out}")


def _made(engine: EngineName, texts: Sequence[str], asked: Asked) -> Fragment:
    from factory.errors import InputError
    from factory.scenario import catalog
    from factory.scenario.engine_fragment import fragment
    from factory.scenario.engine_import import Options

    known = catalog()
    demand = _demand(asked, known)
    gpu = None if demand is None else known.gpus[known.systems[demand.system].gpu]
    if len(asked.roles) > len(texts):
        raise InputError(f"--role: given {len(asked.roles)} times for {len(texts)} command(s)")
    plans = []
    for number, text in enumerate(texts):
        role = asked.roles[number] if number < len(asked.roles) else None
        options = Options(gpu, _role(role), _chances(asked.acceptance), asked.replicas)
        plans.append(_plan(engine, text, asked, known, options))
    made = fragment(plans, known, demand, _named_config(asked))
    if demand is not None:
        _hold_sound(made.data, asked)
    return made


def _plan(engine: EngineName, text: str, asked: Asked, known: Catalog, options: Options) -> Plan:
    from factory.scenario import engine_command, sglang_flags, vllm_flags
    from factory.scenario.engine_flags import parse
    from factory.scenario.engine_model import find_model, read_model
    from factory.scenario.import_sglang import plan_sglang
    from factory.scenario.import_vllm import plan_vllm

    def read_file(name: str) -> bytes:
        return Path(name).expanduser().read_bytes()

    is_vllm = engine == "vllm"
    program = engine_command.VLLM if is_vllm else engine_command.SGLANG
    command = parse(text, program, (vllm_flags if is_vllm else sglang_flags).FLAGS, read_file)
    written = str(command.model.value)
    if asked.hf_config is None:
        model = find_model(written, known, engine)
    else:
        model = read_model(asked.hf_config, written)
    return (plan_vllm if is_vllm else plan_sglang)(command, model, options)


def _texts(commands: Sequence[str]) -> list[str]:
    """The text of each command; words without quotes around them all are one command."""
    if len(commands) > 1 and not any(" " in word.strip() or _is_file(word) for word in commands):
        return [shlex.join(commands)]
    if len(commands) > 1 and _starts_a_command(commands):
        return [shlex.join(commands)]
    texts = []
    for word in commands:
        if word == "-":
            texts.append(sys.stdin.read())
        else:
            texts.append(Path(word).read_text(encoding="utf-8") if _is_file(word) else word)
    return texts


def _starts_a_command(words: Sequence[str]) -> bool:
    """Whether the words are one command that the shell has taken apart."""
    return words[0] in ("vllm", "python", "python3", "docker", "sglang")


def _is_file(word: str) -> bool:
    try:
        return "\n" not in word and Path(word).is_file()
    except OSError:
        return False


def _demand(asked: Asked, known: Catalog) -> Demand | None:
    from factory.errors import InputError, Problem
    from factory.scenario.engine_fragment import Demand
    from factory.scenario.nearest import nearest

    if asked.system is None:
        return None
    if asked.system not in known.systems:
        names = ", ".join(known.systems)
        hint = nearest(asked.system, known.systems)
        problem = Problem("--system", "unknown system", asked.system, names, hint)
        raise InputError(str(problem))
    if not 0 < asked.rate < float("inf"):
        raise InputError(str(Problem("--rate", "must be > 0", asked.rate)))
    return Demand(asked.system, asked.rate, asked.input_tokens, asked.output_tokens)


def _role(role: str | None) -> str | None:
    from factory.errors import InputError, Problem
    from factory.scenario.nearest import nearest

    names = ("prefill", "decode", "aggregated")
    if role is not None and role not in names:
        problem = Problem("--role", "unknown role", role, ", ".join(names), nearest(role, names))
        raise InputError(str(problem))
    return role


def _chances(text: str | None) -> tuple[float, ...]:
    from factory.errors import InputError, Problem

    if text is None:
        return ()
    try:
        chances = tuple(float(part) for part in text.split(","))
    except ValueError:
        chances = (-1.0,)
    if not all(0 <= chance <= 1 for chance in chances):
        message = "must be numbers from 0 to 1, one for all drafts or one for each"
        raise InputError(str(Problem("--acceptance", message, text)))
    return chances


def _named_config(asked: Asked) -> str | None:
    """The model's config as the scenario shall name it: from the folder it is written to."""
    import os

    if asked.hf_config is None:
        return None
    if asked.out is None or asked.hf_config.is_absolute():
        return str(asked.hf_config)
    return os.path.relpath(asked.hf_config, asked.out.parent)


def _hold_sound(data: Mapping[str, Any], asked: Asked) -> None:
    """Refuses a scenario that its own checks refuse, with their words.

    Raises:
        ScenarioError: everything that is wrong with it.
    """
    import copy

    from factory.scenario import load

    scenario = copy.deepcopy(dict(data))
    if asked.hf_config is not None:
        scenario["deployments"][0]["model"]["hf_config"] = str(asked.hf_config)
    load(scenario)
