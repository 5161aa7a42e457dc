"""What `lns report` reads, prints and writes: Markdown, and beside it numbers, figures and a page with everything."""

import base64
import json
from dataclasses import asdict
from datetime import date
from html import escape
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple

from rich.console import Console
from rich.table import Table

from latent_nerfstudio import __version__
from latent_nerfstudio.engine.runs import load_pipeline, open_run
from latent_nerfstudio.engine.summary import read_results
from latent_nerfstudio.escaping import for_markdown, for_markup, for_terminal, markdown_table
from latent_nerfstudio.files.replacing import write_text
from latent_nerfstudio.fleet.status import FILE
from latent_nerfstudio.reports.figures import plot_costs, plot_quality, quality_curves
from latent_nerfstudio.reports.run_report import (
    RunReport,
    comparisons,
    cost_table,
    inventory_report,
    quality_table,
    run_report,
    summary_line,
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1b1f24; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #d8dee4; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
img, video { max-width: 100%; }
"""
"""Of the page, one HTML file that holds its pictures, to be sent along or opened anywhere."""


def opened(path: Path, evaluation: Optional[Path]) -> Callable[[], RunReport]:
    """What reads the report of a run, by an evaluation or evaluated then, or of a folder of `lns fit-scenes`. What is
    wrong with its files is refused now, before others are evaluated, which takes a while."""
    if (path / FILE).is_file():
        report = inventory_report(path)
        return lambda: report
    run = open_run(path)
    if evaluation is not None:
        results = read_results(evaluation, run.checkpoints)
        return lambda: run_report(run, results)
    run.latest_checkpoint()
    return lambda: run_report(run, load_pipeline(path).get_average_eval_image_metrics())


def print_report(reports: Sequence[RunReport]) -> None:
    """Prints the table of scenes, the costs of several scenes, and a line a run and a pair of runs."""
    print_table("Held-out views", *quality_table(reports, "\n"), has_mean=True)
    head, costs = cost_table(reports)
    if costs:
        print_table("Costs", [title.replace(", ", "\n") for title in head], costs)
    for line in told(reports):
        Console().print(for_markup(line), highlight=False, soft_wrap=True)


def print_table(title: str, head: List[str], rows: List[List[str]], has_mean: bool = False) -> None:
    table = Table(title=title)
    for index, name in enumerate(head):
        table.add_column("\n".join(map(for_markup, name.split("\n"))), justify="right" if index else "left")
    for index, row in enumerate(rows):
        table.add_row(*map(for_markup, row), end_section=has_mean and index == len(rows) - 2)
    Console(width=Console(width=10_000).measure(table).maximum).print(table)


def told(reports: Sequence[RunReport]) -> List[str]:
    return [*map(summary_line, reports), *comparisons(reports)]


def about(reports: Sequence[RunReport], command: str) -> List[str]:
    places = dict.fromkeys(report.data for report in reports if report.data)
    return [f"{date.today()}, latent-nerfstudio {__version__}", *(f"Data: {place}" for place in places), command]


def title_of(reports: Sequence[RunReport]) -> str:
    return "Report of " + " beside ".join(report.name for report in reports)


def markdown(reports: Sequence[RunReport], command: str) -> str:
    head, costs = cost_table(reports)
    tables = [*markdown_table(*quality_table(reports)), *(["", *markdown_table(head, costs)] if costs else [])]
    above, below = ([f"- {for_markdown(line)}" for line in some] for some in (about(reports, command), told(reports)))
    return "\n".join([f"# {for_markdown(title_of(reports))}", "", *above, "", *tables, "", *below, ""])


def write_report(path: Path, reports: Sequence[RunReport], command: str, videos: Sequence[Path] = ()) -> None:
    """Writes Markdown, and beside it numbers, figures and the page."""
    write_text(path, markdown(reports, command))
    write_text(path.with_suffix(".json"), json.dumps({"runs": [asdict(report) for report in reports]}, indent=2))
    figures = draw_figures(path, reports)
    sheets = [report.contact_sheet for report in reports if report.contact_sheet.is_file()]
    write_text(path.with_suffix(".html"), html(reports, command, [*figures, *sheets], videos))


def draw_figures(path: Path, reports: Sequence[RunReport]) -> List[Path]:
    """PSNR over seconds where runs were measured while training, and costs of several over the number of scenes."""
    drawn, curves = [], quality_curves(reports)
    costs = {report.name: report.costs for report in reports if report.costs is not None}
    if curves:
        drawn.append(path.with_name(f"{path.stem}_quality.png"))
        plot_quality(curves, drawn[-1])
    if len(costs) > 1:
        drawn.append(path.with_name(f"{path.stem}_costs.png"))
        plot_costs(costs, drawn[-1])
    return drawn


def html(reports: Sequence[RunReport], command: str, pictures: Sequence[Path], videos: Sequence[Path]) -> str:
    head, costs = cost_table(reports)
    sections = [
        ("About", [html_list(about(reports, command))]),
        ("Held-out views", [html_table(*quality_table(reports)), html_list(list(map(summary_line, reports)))]),
        ("Costs", [html_table(head, costs), html_list(comparisons(reports))] if costs else []),
        ("Videos", list(map(html_picture, videos))),
        ("Pictures", list(map(html_picture, pictures))),
    ]
    return page(title_of(reports), sections)


def page(title: str, sections: Sequence[Tuple[str, List[str]]]) -> str:
    body = "\n".join(f"<h2>{escape(name)}</h2>\n" + "\n".join(parts) for name, parts in sections if parts)
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body><h1>{escape(title)}</h1>\n{body}</body></html>"


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["".join(f"<th>{escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    return "<table>" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def html_list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def html_picture(path: Path) -> str:
    content, kind = base64.b64encode(path.read_bytes()).decode(), path.suffix.lower()[1:]
    if kind == "mp4":
        return f'<video controls loop muted playsinline src="data:video/mp4;base64,{content}"></video>'
    text = path.stem.replace("_", " ")
    return f'<figure><img alt="{escape(text)}" src="data:image/{kind};base64,{content}"></figure>'


def closing_lines(reports: Sequence[RunReport], output: Path, videos: Sequence[Path]) -> List[str]:
    """Where everything lies; what is not there is left out."""
    places = [place for r in reports for place in (("Config", Path(r.config)), ("Contact sheet", r.contact_sheet))]
    places += [("Video", video) for video in videos]
    places += [("Table", output), ("Numbers", output.with_suffix(".json")), ("Page", output.with_suffix(".html"))]
    return [f"{title + ':':15}{for_terminal(path)}" for title, path in places if path.exists()]
