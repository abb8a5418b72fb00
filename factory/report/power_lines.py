"""The figures of power and of cells that the screen and the page show."""

from __future__ import annotations

from factory.report.figures import (
    NONE,
    duration,
    energy,
    known,
    percent,
    plural,
    power,
    quantity,
    significant,
    usd,
)
from factory.report.line import Line
from factory.report.model import RunView
from factory.report.power_model import Power

SIDE_ACCOUNT = "a side account: the price per GPU-hour covers electricity already"

_ROUNDING = 1e-9

_LEVELS = {"row": "row", "rack": "rack", "node": "server"}
_BROUGHT = {"failed": "failures", "tripped": "trips", "maintenance": "maintenance"}


def power_lines(run: RunView) -> tuple[Line, ...]:
    """What the screen shows: what was drawn, and what limits, curtailments and outages did."""
    site, figures = run.power, run.figures
    found = []
    if figures.mean_facility_kw is not None:
        pue = "" if site.pue is None else f", PUE {significant(site.pue)}"
        words = f"mean{pue}{_peak(site.facility_peak_kw)}"
        found.append(Line("Facility", power(figures.mean_facility_kw), words))
    if _has_own_grid(run) and site.grid_kw is not None:
        found.append(Line("Grid", power(site.grid_kw), f"mean{_peak(site.peak_kw)}"))
    kwh = figures.energy_kwh if site.grid_kwh is None else site.grid_kwh
    if kwh is not None and figures.mean_facility_kw is not None:
        found.append(Line("Energy", energy(kwh), "from the grid, while measured"))
    if site.battery is not None:
        found.append(_battery(site.battery))
    if site.electricity_usd is not None:
        words = "a side account: in the price already" if site.is_side_account else "by its series"
        found.append(Line("Electricity", usd(site.electricity_usd), words))
    if site.emissions_g is not None:
        found.append(Line("Emissions", _mass(site.emissions_g), "by the carbon intensity"))
    if site.capped_ratio:
        words = "of the time, some clock was lowered"
        if site.braked_ratio:
            words = f"of the time; {percent(site.braked_ratio)} braked"
        found.append(Line("Capped", percent(site.capped_ratio), words))
    if site.headroom_ratio is not None:
        words = f"mean, under the limit of {site.tightest}"
        found.append(Line("Headroom", percent(site.headroom_ratio), words))
    if site.curtailed_s:
        words = f"by the grid; {significant(site.excess_kwh)} kWh above it"
        found.append(Line("Curtailed", duration(site.curtailed_s), words))
    if site.availability_ratio is not None and site.availability_ratio < 1.0:
        words = f"of GPU time; {_lost(site)}"
        found.append(Line("Available", percent(site.availability_ratio), words))
    return tuple(found)


def energy_lines(run: RunView) -> tuple[Line, ...]:
    """What the page shows: power at each boundary, and what is known of its limits and its bill."""
    figures, site = run.figures, run.power
    joules = None
    if figures.energy_kwh and figures.output_tokens:
        joules = known(figures.energy_kwh * 3.6e6 / figures.output_tokens)
    pue = "" if site.pue is None else f" at a PUE of {significant(site.pue)}"
    of_facility = f"mean, IT and overhead{pue}{_peak(site.facility_peak_kw)}"
    found = [
        Line("GPUs", power(figures.mean_gpu_kw), "mean, at the GPUs"),
        Line("IT", power(figures.mean_it_kw), "mean, with hosts, network and power supplies"),
        Line("Facility", power(figures.mean_facility_kw), of_facility),
    ]
    if site.grid_kw is not None:
        words = f"mean, drawn from it{_peak(site.peak_kw)}"
        found.append(Line("Grid", power(site.grid_kw), words))
    found.append(
        Line(
            "Energy",
            energy(figures.energy_kwh if site.grid_kwh is None else site.grid_kwh),
            "from the grid while measured"
            + ("" if joules is None else f"; {significant(joules)} J per output token"),
        )
    )
    if site.battery is not None:
        found.append(_battery(site.battery))
    return (*found, *_limits(site), *_account(site))


def _limits(site: Power) -> list[Line]:
    """What budgets and the grid allow, and what came of it."""
    budget = _budget(site)
    found = [] if budget is None else [budget]
    if site.headroom_ratio is not None:
        words = f"mean, of the limit of {site.tightest}, the tightest node"
        found.append(Line("Headroom", percent(site.headroom_ratio), words))
    if site.capped_ratio:
        brake = f"; {percent(site.braked_ratio)} under a brake" if site.braked_ratio else ""
        by = f", longest under {site.capped_node}" if site.capped_node else ""
        words = f"of the time, some clock was lowered{by}{brake}"
        found.append(Line("Capped", percent(site.capped_ratio), words))
    if site.peak_quarter_kw is not None:
        words = f"highest quarter of an hour at the grid, from {site.peak_quarter}"
        found.append(Line("Peak demand", power(site.peak_quarter_kw), words))
    if site.curtailed_s:
        excess = f"; {significant(site.excess_kwh)} kWh above its limit" if site.excess_kwh else ""
        found.append(Line("Curtailed", duration(site.curtailed_s), f"by the grid{excess}"))
    if site.stranded_kw and site.stranded_kw > _ROUNDING * (site.contracted_kw or 0.0):
        words = "of the contract, which budgets and racks can never draw"
        found.append(Line("Stranded", power(site.stranded_kw), words))
    return found


def _account(site: Power) -> list[Line]:
    """What the grid's energy cost and emitted, and what was down."""
    found = []
    if site.electricity_usd is not None:
        words = "at the price of each instant"
        words += f"; {SIDE_ACCOUNT}" if site.is_side_account else ""
        found.append(Line("Electricity", usd(site.electricity_usd), words))
    if site.emissions_g is not None:
        words = "at the carbon intensity of each instant"
        found.append(Line("Emissions", _mass(site.emissions_g), words))
    if site.availability_ratio is not None and site.availability_ratio < 1.0:
        words = f"of the pools' GPU time; {_lost(site)}"
        found.append(Line("Available", percent(site.availability_ratio), words))
    if site.resuming_ratio:
        words = "of the pools' GPU time, in starts after a pause: part of it, and no outage"
        found.append(Line("Resuming", percent(site.resuming_ratio), words))
    return found


def cell_lines(run: RunView) -> tuple[Line, ...]:
    """Headline figures of all cells, each with the standard error between those simulated."""
    cells = run.cells
    if cells.count <= 1:
        return ()
    figures = run.figures
    of_all = {
        "tokens_per_s_output_good": ("Good tokens/s", quantity, cells.count),
        "cost_usd_per_mtok_output_good": ("Cost", usd, None),
        "facility_kw": ("Facility", power, cells.count),
        "load_factor_ratio": ("Load factor", percent, None),
    }
    whole = {
        "cost_usd_per_mtok_output_good": figures.usd_per_mtok_output_good,
        "facility_kw": figures.mean_facility_kw,
        "load_factor_ratio": figures.load_factor_ratio,
    }
    found = []
    for name, (label, spelled, times) in of_all.items():
        mean, error = cells.spread.get(name, (None, None))
        value = whole.get(name)
        if value is None and mean is not None:
            value = mean * (times or 1)
        if value is None:
            continue
        words = "one cell simulated: how far they differ is not known"
        text = spelled(value)
        if error is not None and mean:
            text = f"{text} ± {percent(abs(error / mean))}"
            words = "standard error between cells"
        found.append(Line(label, text, words))
    return tuple(found)


def cells_words(run: RunView) -> str:
    """``140 cells, 3 simulated``; empty for a facility of one."""
    cells = run.cells
    return "" if cells.count <= 1 else f"{cells.count:,} cells, {cells.simulated:,} simulated"


def _has_own_grid(run: RunView) -> bool:
    """Whether the grid gives anything else than the facility draws: there is a battery."""
    return run.power.battery is not None


def _peak(kilowatts: float | None) -> str:
    return "" if kilowatts is None else f"; peak {power(kilowatts)}"


def _battery(battery: tuple[float, float, float]) -> Line:
    charged, discharged, level = battery
    words = f"given; {energy(charged)} taken, {energy(level)} held"
    return Line("Battery", energy(discharged), words)


def _mass(grams: float) -> str:
    if abs(grams) >= 1e6:
        return f"{significant(grams / 1e6)} t CO₂"
    return (
        f"{significant(grams / 1e3)} kg CO₂" if abs(grams) >= 1e3 else f"{significant(grams)} g CO₂"
    )


def _budget(site: Power) -> Line | None:
    """The facility's own budget, if it has one, and those beneath it."""
    beneath = "; ".join(
        f"{power(kw)} at IT of {plural(number, _LEVELS.get(level, level))}"
        for level, (number, kw) in site.budgeted.items()
    )
    if site.stated_kw is not None:
        words = "of the facility, behind its overhead"
        return Line("Budget", power(site.stated_kw), words + (f"; {beneath}" if beneath else ""))
    if not site.budgeted:
        return None
    (number, kw), *_ = site.budgeted.values()
    level = _LEVELS.get(next(iter(site.budgeted)), "node")
    words = f"at IT, of {plural(number, level)}"
    rest = beneath.partition("; ")[2]
    return Line("Budget", power(kw), words + (f"; {rest}" if rest else ""))


def _lost(site: Power) -> str:
    """What took the rest, by cause, starts after it counted in."""
    lost = {
        state: site.down.get(state, 0.0) + site.restarting.get(state, 0.0) for state in _BROUGHT
    }
    parts = [f"{_BROUGHT[state]} {percent(share)}" for state, share in lost.items() if share]
    return ", ".join(parts) or NONE
