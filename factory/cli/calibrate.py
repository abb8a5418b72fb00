"""``factory calibrate``: fit the catalogue's efficiencies to your own measurements."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factory.validation.measured_steps import Server


def calibrate_steps(
    files: Sequence[Path],
    *,
    out: Path,
    fit: Sequence[str],
    engine: str,
    server: Server,
    as_json: bool,
) -> None:
    """Fit efficiency parameters to measured step times, and write a catalogue overlay.

    Args:
        files: One CSV with the columns of measured steps, or JSON outputs of benchmarks.
        out: The overlay.
        fit: Fields to fit; empty for the usual ones.
        engine: Engine profile that the measurements ran under.
        server: What benchmarks ran against.
        as_json: Print one JSON object and nothing else.

    Raises:
        FactoryError: A file or a flag cannot be used.
    """
    import datetime as dt

    from factory.cli.output import print_columns, print_json
    from factory.cli.validate import STATISTICS, cells_of
    from factory.errors import InputError
    from factory.scenario import catalog
    from factory.scenario.nearest import nearest
    from factory.validation.calibrate import calibrate, overlay
    from factory.validation.efficiency import USUAL, checked
    from factory.validation.measured_steps import from_files

    names = checked(fit) or list(USUAL)
    if engine not in catalog().engines:
        close = nearest(engine, catalog().engines)
        hint = f"; did you mean {close}?" if close else ""
        known = ", ".join(catalog().engines)
        raise InputError(f"--engine {engine}: unknown profile (of {known}{hint})")
    measured, left_out = from_files(files, server)
    source = ", ".join(file.name for file in files)
    found = calibrate(measured, names, engine, source)
    try:
        out.write_text(overlay(found, dt.datetime.now(dt.UTC).date()), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from None
    errors = [
        ("fitted rows, before", found.before),
        ("fitted rows, after", found.after),
        ("held-out rows, before", found.before_held_out),
        ("held-out rows, after", found.after_held_out),
    ]
    if as_json:
        print_json(
            {
                "overlay": str(out),
                "values": {one.path: value for one, value in found.values.items()},
                "were": {one.path: one.start for one in found.values},
                "untold": list(found.untold),
                "errors": {
                    name.replace(" rows, ", "_").replace("-", "_"): one.as_json(())
                    for name, one in errors
                    if one is not None
                },
                "left_out": [{"because": why, "rows": count} for why, count in left_out],
            }
        )
        return
    rows = [
        [one.path, f"{one.start:.4g}", f"{value:.4g}", f"{value / one.start:.3f}"]
        for one, value in found.values.items()
    ]
    print_columns(["parameter", "was", "is", "factor"], rows, [False, True, True, True])
    print()
    shown = [[name, *cells_of(one)] for name, one in errors if one is not None]
    print_columns(["error", *STATISTICS], shown, [False] + [True] * 5)
    if found.before_held_out is None:
        print("\nnothing was held out: too few rows to say how well this does on others")
    if found.before.n < len(found.values):
        print(
            f"\nwarning: {found.before.n} rows for {len(found.values)} parameters; name fewer "
            "with --fit, or measure more"
        )
    if found.untold:
        print(f"\n{len(found.untold)} other parameters stay as they are: no row tells of them")
    for why, count in left_out:
        print(f"left out, {count} {'row' if count == 1 else 'rows'}: {why}")
    print(f"\nwrote {out}")
