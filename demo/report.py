"""Write what a job did as one HTML page and one PNG: samples, curves, candidates and the reasons."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

Row = dict[str, object]
CANDIDATES_SHOWN = 12
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:#1c2430}
h1{font-size:1.7rem}h2{margin-top:2.2rem;font-size:1.2rem}
.lead{font-size:1.15rem;background:#eef4ff;border-left:4px solid #3563e9;padding:.8rem 1rem}
table{border-collapse:collapse}td,th{padding:.35rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid #e3e7ee}
th.published{color:#3563e9}td.small,.small{color:#5b6472;font-size:.85rem}
img.sample{width:96px;height:96px;image-rendering:pixelated;border:1px solid #d7dce5}
img.published{border:2px solid #3563e9}
.strip{display:flex;flex-wrap:wrap;gap:.6rem}.strip figure{margin:0;width:84px;text-align:center;font-size:.72rem;color:#5b6472}
.strip img{width:64px;height:64px;image-rendering:pixelated}img.wide{max-width:100%}
"""


@dataclass(frozen=True)
class Report:
    """Everything that the page shows, as the API returned it."""

    family: str
    job: dict[str, object]
    before: float
    after: float
    metrics: list[Row]
    influence: list[Row]
    samples: list[Row]
    overfitted: list[Row]  # the last step of a run without backbone data, where there was one

    @property
    def bat(self) -> Row:
        bat = self.job.get("bat")
        return bat if isinstance(bat, dict) else {}


def write_report(report: Report, folder: Path) -> Path:
    """Write index.html and report.png into the folder; returns the page."""
    figure = draw_curves(report)
    figure.savefig(folder / "curves.png", dpi=110)
    plt.close(figure)
    if report.family == "images":
        sample_sheet(report).save(folder / "report.png")
    else:
        (folder / "report.png").write_bytes((folder / "curves.png").read_bytes())
    page = folder / "index.html"
    page.write_text(render(report, (folder / "curves.png").read_bytes()), encoding="utf-8")
    return page


def render(report: Report, curves: bytes) -> str:
    sections = [
        f"<h1>{escape(report.job.get('fine_tuned_model'))}</h1>",
        f'<p class="lead">{escape(report.bat.get("stop_reason"))}</p>',
        effect_sentence(report),
        "<h2>Before, right, and too late</h2>" + samples_table(report),
        "<h2>Why this step</h2>" + picture(curves, "wide"),
        "<h2>What was measured, in words</h2>" + reasons_section(report),
        "<h2>Your own references</h2>" + references_section(report),
        "<h2>The backbone's own data: what helps and what hurts</h2>" + influence_section(report),
        "<h2>What was decided, and why</h2>" + decisions(report),
    ]
    body = "\n".join(sections)
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Albatross report</title><style>{STYLE}</style>\n{body}\n</html>\n'


def escape(value: object) -> str:
    return html.escape("" if value is None else str(value))


def effect_sentence(report: Report) -> str:
    change = report.after / report.before - 1
    verb = "fell" if change < 0 else "rose"
    return (
        f"<p>On held-out references, which were never trained on, the loss {verb} from {report.before:.4f} to "
        f"{report.after:.4f} ({change:+.1%}), measured with the downloaded file in plain library calls.</p>"
    )


@dataclass(frozen=True)
class Column:
    """The samples of one kept step."""

    title: str
    step: int
    published: bool
    cells: dict[str, Row]


def columns(report: Report) -> list[Column]:
    """The steps that have a name, in order of training, and the careless run's last step behind them."""
    steps: dict[int, list[Row]] = {}
    for row in report.samples:
        if row["labels"]:
            steps.setdefault(int(str(row["step"])), []).append(row)
    shown = [_column(", ".join(map(str, rows[0]["labels"])), rows) for _, rows in sorted(steps.items())]
    if report.overfitted:
        shown.append(_column("overfitted: no backbone data, no stop", report.overfitted))
    return shown


def _column(title: str, rows: list[Row]) -> Column:
    title = title.replace("_", " ")
    return Column(title, int(str(rows[0]["step"])), "published" in title, {str(row["prompt"]): row for row in rows})


def prompts(report: Report) -> list[tuple[str, str]]:
    return list(dict.fromkeys((str(row["role"]), str(row["prompt"])) for row in report.samples))


def samples_table(report: Report) -> str:
    shown = columns(report)
    head = "".join(
        f'<th class="{"published" if column.published else ""}">{escape(column.title)}'
        f'<br><span class="small">step {column.step}</span></th>'
        for column in shown
    )
    rows = []
    for role, prompt in prompts(report):
        cells = "".join(f"<td>{sample(column.cells.get(prompt, {}), column.published)}</td>" for column in shown)
        rows.append(f'<tr><td>{escape(prompt)}<br><span class="small">{escape(role)} prompt</span></td>{cells}</tr>')
    return f"<table><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def sample(row: Row, published: bool) -> str:
    image = row.get("image")
    if image:
        return f'<img class="sample{" published" if published else ""}" src="{escape(image)}" alt="{escape(row.get("prompt"))}">'
    return escape(row.get("text"))


def picture(content: bytes, kind: str) -> str:
    return (
        f'<img class="{kind}" src="data:image/png;base64,{base64.b64encode(content).decode()}" alt="training curves">'
    )


def reasons_section(report: Report) -> str:
    """A sentence for every figure of the job."""
    reasons = report.bat.get("reasons")
    rows = reasons.items() if isinstance(reasons, dict) else ()
    lines = (f"<tr><td>{escape(name).replace('_', ' ')}</td><td>{escape(words)}</td></tr>" for name, words in rows)
    return f"<table>{''.join(lines)}</table>"


def references_section(report: Report) -> str:
    """What each reference does among the others; the one that does not belong stands out."""
    rows = report.bat.get("references")
    marks = {
        "helps": "fits",
        "doubtful": "look at it",
        "hurts": "look at it",
        "duplicate": "twice",
        "unknown": "unknown",
    }
    lines = (
        f"<tr><td>{escape(marks.get(str(row.get('verdict'))))}</td><td>{escape(row.get('sentence'))}</td></tr>"
        for row in (rows if isinstance(rows, list) else ())
    )
    return f"<table>{''.join(lines)}</table>"


def influence_section(report: Report) -> str:
    scored = [row for row in report.influence if row.get("score") is not None]
    ranked = sorted(scored, key=lambda row: -float(str(row["score"])))
    if not ranked:
        return "<p>No candidates were scored for this job.</p>"
    bat = report.bat
    reasons = bat["reasons"] if isinstance(bat.get("reasons"), dict) else {}
    facts = (
        f"{bat.get('selected')} of {bat.get('pool_size')} candidates were replayed beside the references (gamma {bat.get('gamma')}). "
        f"Verdict: {bat.get('verdict')}. {reasons.get('scores', '')} Read the order as a tendency."
    )
    most = max(abs(float(str(row["score"]))) for row in ranked) or 1.0
    best, worst = ranked[:CANDIDATES_SHOWN], ranked[-CANDIDATES_SHOWN:][::-1]
    return f"<p>{escape(facts)}</p><h3>Highest scores</h3>{strip(best, most)}<h3>Lowest scores</h3>{strip(worst, most)}"


def strip(rows: list[Row], most: float) -> str:
    """Candidates in a row, their scores as shares of the strongest: the raw unit means nothing to a person."""
    if any(row.get("thumbnail") for row in rows):
        figures = (
            f'<figure><img src="{escape(row.get("thumbnail"))}" alt=""><br>{escape(row.get("caption"))}<br>{float(str(row["score"])) / most:+.2f}</figure>'
            for row in rows
        )
        return f'<div class="strip">{"".join(figures)}</div>'
    lines = (
        f'<tr><td>{float(str(row["score"])) / most:+.2f}</td><td class="small">{escape(row.get("source"))}</td><td>{escape(row.get("text"))}</td></tr>'
        for row in rows
    )
    return f"<table>{''.join(lines)}</table>"


def decisions(report: Report) -> str:
    resolved = report.bat.get("resolved")
    if not isinstance(resolved, dict):
        return ""
    reasons = resolved.get("reasons")
    reasons = reasons if isinstance(reasons, dict) else {}
    rows = (
        f'<tr><td>{escape(name)}</td><td>{escape(value)}</td><td class="small">{escape(reasons.get(name))}</td></tr>'
        for name, value in resolved.items()
        if name != "reasons"
    )
    return f"<table><tr><th>setting</th><th>value</th><th>why</th></tr>{''.join(rows)}</table>"


def series(report: Report, name: str) -> tuple[list[int], list[float]]:
    pairs = [
        (int(str(row["step"])), float(str(row[name])))
        for row in report.metrics
        if row.get("stage") == "train" and row.get(name) is not None
    ]
    return [step for step, _ in pairs], [value for _, value in pairs]


def draw_curves(report: Report) -> Figure:
    """Loss, cosine similarity and CS-Fluctuation over the steps, with the steps that matter marked."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    probe = report.bat.get("probe")
    own = isinstance(probe, dict) and probe.get("on") == "own"
    for name, label in (
        ("loss", "batch"),
        ("reference_loss", "references"),
        ("heldout_loss", "held-out"),
        ("probe_loss", "backbone's own samples" if own else "backbone probe"),
    ):
        steps, values = series(report, name)
        if steps:
            axes[0].plot(steps, values, label=label, alpha=0.35 if name == "loss" else 1.0)
    axes[0].legend(fontsize=8)
    for axis, name in ((axes[1], "cosine_similarity"), (axes[2], "cs_fluctuation")):
        axis.plot(*series(report, name), color="#1c2430")
    for axis, title in zip(axes, ("Loss", "Cosine similarity of adapter and layer", "CS-Fluctuation"), strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("step")
        mark_steps(axis, report.bat)
    return figure


def mark_steps(axis: plt.Axes, bat: Row) -> None:
    for name, color, style in (("published_step", "#3563e9", "-"), ("turning_point_step", "#c2410c", "--")):
        if isinstance(bat.get(name), int):
            axis.axvline(bat[name], color=color, linestyle=style, linewidth=1.2)
            axis.annotate(
                name.removesuffix("_step").replace("_", " "),
                (bat[name], 1),
                xycoords=("data", "axes fraction"),
                fontsize=8,
                color=color,
                rotation=90,
                va="top",
                ha="right",
            )


def sample_sheet(report: Report, side: int = 96, margin: int = 4, band: int = 16) -> Image.Image:
    """All sample images in one picture: a row a prompt, a column a step, titles above."""
    shown, rows = columns(report), prompts(report)
    pitch = side + margin
    sheet = Image.new("RGB", (len(shown) * pitch + margin, len(rows) * pitch + margin + band), "white")
    pen = ImageDraw.Draw(sheet)
    for x, column in enumerate(shown):
        title = "overfitted" if column.title.startswith("overfitted") else column.title.split(",")[-1].strip()
        pen.text((x * pitch + margin, 2), f"{title} {column.step}", fill="#3563e9" if column.published else "#1c2430")
        for y, (_, prompt) in enumerate(rows):
            image = str(column.cells.get(prompt, {}).get("image") or "")
            if image:
                tile = Image.open(io.BytesIO(base64.b64decode(image.split(",", 1)[1]))).convert("RGB")
                tile = tile.resize((side, side), Image.Resampling.NEAREST)
                sheet.paste(tile, (x * pitch + margin, y * pitch + margin + band))
    return sheet
