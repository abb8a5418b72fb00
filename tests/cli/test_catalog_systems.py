from __future__ import annotations

from factory.cli.catalog import show_catalog


def test_a_system_shows_the_parts_of_its_rack_and_what_they_come_to(capsys):
    show_catalog("systems", "hgx-h100")
    lines = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["fan_w"].split()[1:3] == ["148", "assumed"]
    assert lines["psu_efficiency_50_ratio"].split()[1:3] == ["0.96", "published"]
    assert "35.2" in lines["rack, GPUs at TDP, kW"]
    assert "95.8%" in lines["rack, GPUs at TDP, kW"]
