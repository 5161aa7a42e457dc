"""Reports of runs: numbers by hand."""

import dataclasses
import json

import pytest

from latent_nerfstudio.fleet.status import SceneStatus, StatusTable
from latent_nerfstudio.reports.figures import break_even_points, plot_costs, plot_quality, quality_curves
from latent_nerfstudio.reports.report import html_table, page
from latent_nerfstudio.reports.run_report import (
    Cost,
    RunReport,
    comparisons,
    cost_table,
    inventory_report,
    read_history,
    summary_line,
    when,
)


def report(name: str, psnr: float, seconds: float, size: float, entry: float = 0.0, shared: int = 0) -> RunReport:
    """A report of two scenes."""
    mean = {"psnr": psnr, "seconds": seconds, "bytes": size}
    training = {"entry_seconds": entry, "bytes_shared": shared}
    history = [{"step": 10.0, "seconds": 2.0, "psnr": psnr - 5}, {"step": 20.0, "seconds": 4.0, "psnr": psnr}]
    return RunReport(name, name, "config.yml", {"a": mean, "b": mean}, mean, training, history)


def test_cost_table():
    """Without runs whose training has not ended."""
    _, ((name, *cells),) = cost_table([report("latent", 28.0, 3.0, 100.0, entry=1000.0, shared=4000)])
    assert name == "latent"
    assert cells == ["2", "1,000.0", "3.0", "503.0", "4.0", "4,000", "100", "2,100", "104"]
    unfinished = RunReport("a", "a", "config.yml", {"a": {"psnr": 20.0}}, {"psnr": 20.0})
    assert cost_table([unfinished])[1] == []
    assert comparisons([unfinished, report("b", 1.0, 1.0, 1.0)]) == []


def test_comparison_of_two_runs():
    (line,) = comparisons([report("latent", 28.0, 3.0, 100.0, 1000.0, 4000), report("rgb", 30.5, 13.0, 500.0)])
    assert line == (
        "latent beside rgb: -2.50 dB; takes 0.23 times the seconds a scene, less in all from 100 scenes on; "
        "fills 0.20 times the bytes a scene, less in all from 10 scenes on"
    )


def test_quality_is_compared_on_the_same_scenes():
    one, other = report("latent", 28.0, 3.0, 100.0), report("rgb", 30.5, 13.0, 500.0)
    other.scenes = {"b": {"psnr": 29.0}, "c": {"psnr": 32.0}}
    assert " beside rgb: -1.00 dB on the 1 of their scenes that are the same; takes " in comparisons([one, other])[0]
    other.scenes = {"c": {"psnr": 30.5}}
    assert comparisons([one, other])[0].startswith("latent beside rgb: takes ")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Cost(0.0, 1.0), Cost(0.0, 2.0), "less in all for any number"),
        (Cost(0.0, 2.0), Cost(50.0, 1.0), "less in all up to 50 scenes"),
        (Cost(0.0, 2.0), Cost(50.7, 1.0), "less in all up to 50 scenes"),
        (Cost(50.3, 1.0), Cost(0.0, 2.0), "less in all from 51 scenes on"),
        (Cost(50.0, 2.0), Cost(0.0, 1.0), "more in all for any number"),
    ],
)
def test_when(one, other, expected):
    assert when(one, other) == expected


def test_history_of_a_resumed_run(tmp_path):
    lines = [{"step": 10.0, "psnr": 1.0}, {"step": 20.0, "psnr": 2.0}, {"step": 10.0, "psnr": 3.0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert [line["psnr"] for line in read_history(tmp_path / "metrics.jsonl")] == [3.0, 2.0]
    assert read_history(tmp_path / "nothing") == []


def test_curves_of_seconds_a_scene_and_break_even_points():
    assert quality_curves([report("latent", 28.0, 3.0, 100.0)]) == {"latent": [(1.0, 23.0), (2.0, 28.0)]}
    silent = report("latent", 28.0, 3.0, 100.0)
    silent.history = [{"step": 10.0, "psnr": 20.0}]
    assert quality_curves([silent]) == {}
    ((count, total),) = break_even_points({"a": Cost(1000.0, 3.0), "b": Cost(0.0, 13.0)})
    assert (count, total) == (100, 1300)


def test_figures_are_pictures_and_pages_escape_what_runs_are_called(tmp_path):
    """Something is drawn: the pictures are larger than white ones, and different."""
    reports = [report("latent", 28.0, 3.0, 100.0, 1000.0, 4000), report("rgb", 30.5, 13.0, 500.0)]
    plot_quality(quality_curves(reports), tmp_path / "quality.png")
    plot_costs({r.name: r.costs for r in reports if r.costs}, tmp_path / "costs.png")
    contents = [(tmp_path / name).read_bytes() for name in ("quality.png", "costs.png")]
    assert all(content.startswith(b"\x89PNG") and len(content) > 10_000 for content in contents)
    assert contents[0] != contents[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["costs.png", "quality.png"]
    text = page("<b>", [("Table", [html_table(["scene"], [["<script>"]])]), ("Nothing", [])])
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "Nothing" not in text


def test_report_of_an_inventory(tmp_path):
    table = StatusTable(tmp_path / "status.json", "abc", {"bytes": 1000.0, "seconds": 50.0})
    done = [SceneStatus(name, "done", psnr=p, ssim=0.5, seconds=s, steps=10, bytes=60) for name, p, s in
            (("a", 20.0, 1.0), ("b", 22.0, 3.0))]  # fmt: skip
    table.update([*done, SceneStatus("c", "failed", reason="pictures")])
    report = inventory_report(tmp_path)
    assert report.mean == {"psnr": 21.0, "ssim": 0.5, "seconds": 2.0, "bytes": 60.0}
    assert report.costs == {"seconds": Cost(50.0, 2.0), "bytes": Cost(1000.0, 60.0)}
    assert list(report.scenes) == ["a", "b"]
    assert summary_line(report).endswith(" bytes shared; 1 not done: c")
    table.update([SceneStatus("c", "done", seconds=2.0, steps=10, bytes=60)])  # of so few photos that none is held out
    assert inventory_report(tmp_path).mean["psnr"] == 21.0
    of_run = dataclasses.replace(report, training={**report.training, "not done": [], "failed": {"b": 7}})
    assert summary_line(of_run).endswith(" bytes shared; 1 failed: b")


def test_an_inventory_without_scenes_is_refused(tmp_path):
    StatusTable(tmp_path / "status.json", "ab").update([])
    with pytest.raises(ValueError, match="status.json: expected at least one scene that is done, got none"):
        inventory_report(tmp_path)
    for text, words in (("[]", "a JSON object, got list"), ('{"scenes": [1]}', "what lns fit-scenes wrote, got Type")):
        (tmp_path / "status.json").write_text(text)
        with pytest.raises(ValueError, match=f"status.json: expected {words}"):
            inventory_report(tmp_path)
