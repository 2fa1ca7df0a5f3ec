"""What the page costs a visitor's browser, held against its budgets: paint, bytes, long tasks, memory, jumps."""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Browser, Page, expect
from sqlalchemy.orm import Session, sessionmaker

from api.http.static_files import MEDIA_TYPES
from benchmarks.service import ROOT, Service, api
from core.database.engine import connect, sessions
from core.jobs import leases, reports
from core.jobs.leases import Claim
from core.settings import Settings
from tests.page.browser import Tab, chromium, visited

RESULTS = ROOT / "benchmarks/results/page.json"
PAGE = ROOT / "api/page"
VISITS, POINTS, UPDATES = 7, 10_000, 100
CHUNK = 1_000  # rows that are written at once
TICK_MS = 3_000  # how often the page looks at a job that works
TASKS = """
window.tasks = [];
new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((task) => task.duration)))
  .observe({ type: "longtask", buffered: true });
"""


@dataclass(frozen=True)
class Budget:
    """One figure, and what it may be at most."""

    name: str
    measured: float
    budget: float
    unit: str

    @property
    def kept(self) -> bool:
        return self.measured <= self.budget


def first_view(browser: Browser, service: Service) -> Iterator[Budget]:
    """Open the page without a past, several times."""
    paints, shifts, unpacked, sent = [], [], 0.0, 0.0
    for _ in range(VISITS):
        with visited(browser, address(service), service.key) as tab:
            page = tab.open("/")
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            page.wait_for_load_state("networkidle")
            paints.append(float(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")))
            shifts.append(jumped(page))
            unpacked, sent = (taken(page, size) / 1000 for size in ("decodedBodySize", "encodedBodySize"))
    yield Budget("first paint, median of 7 visits without a cache", round(statistics.median(paints), 1), 300, "ms")
    yield Budget("first view, unpacked", round(unpacked, 1), 240, "KB")
    yield Budget("first view, as it is sent", round(sent, 1), 240, "KB")
    yield Budget("layout shift of the first view", max(shifts), 0, "")


def taken(page: Page, size: str) -> float:
    """Bytes of the document and of all files of the page that were loaded, without answers of the API."""
    found = page.evaluate(
        "size => performance.getEntries().filter((one) => one.entryType === 'navigation' || one.entryType === "
        "'resource' && new URL(one.name).pathname.startsWith('/page/')).reduce((sum, one) => sum + one[size], 0)",
        size,
    )
    return float(found)


def jumped(page: Page) -> float:
    return round(float(sum(value for value, _ in page.evaluate("window.shifts"))), 4)


def everything() -> Budget:
    """All files that a browser may load, as they lie on the disk, which does not load the licences."""
    loaded = MEDIA_TYPES.keys() - {".txt"}
    total = sum(path.stat().st_size for path in PAGE.rglob("*") if path.suffix in loaded)
    return Budget("all of the page, unpacked", round(total / 1000, 1), 320, "KB")


@dataclass(frozen=True)
class LongRun:
    """A job in a worker's hands, whose curve grows as it is told to."""

    job: str
    claim: Claim
    open: sessionmaker[Session]

    def grow(self, first: int, count: int) -> None:
        with self.open.begin() as session:
            assert reports.add_metrics(
                session, self.claim, "train", [point(step) for step in range(first, first + count)]
            )


def point(step: int) -> dict[str, float | int]:
    """What training writes at a step, with a wave that no thinning out can drop."""
    falling = 1 / (1 + step / 400) + 0.02 * math.sin(step / 7)
    return {
        "step": step,
        "loss": falling + 0.1 * math.sin(step),
        "reference_loss": falling,
        "heldout_loss": falling + step / 1e5,
        "probe_loss": 0.5 + step / 1e5,
        "cosine_similarity": 0.1 / (1 + step),
        "cs_fluctuation": 1e-6 * (2 + math.sin(step / 50)),
    }


def long_run(service: Service, open: sessionmaker[Session]) -> LongRun:
    """Upload, create and claim a job, and write its first points."""
    rows = "\n".join(json.dumps({"prompt": f"sea {n}?", "completion": f"Arr {n}."}) for n in range(6))
    headers = {"Authorization": f"Bearer {service.key}"}
    with httpx.Client(base_url=address(service), headers=headers, timeout=60) as http:
        files = {"file": ("sea.jsonl", rows)}
        file = http.post("/v1/files", files=files, data={"purpose": "fine-tune"}).raise_for_status().json()["id"]
        body = {"model": "tiny", "training_file": file}
        job = http.post("/v1/fine_tuning/jobs", json=body).raise_for_status().json()["id"]
    with open.begin() as session:
        queue = service.settings.queue
        claimed = leases.claim(session, queue=queue, worker_id="w", lease_seconds=3600, account_job_limit=10)
        assert claimed is not None
        run = LongRun(job, Claim.of(claimed), open)
        leases.resolve(session, run.claim, {"kind": "texts", "reasons": {}})
    for first in range(0, POINTS, CHUNK):
        run.grow(first + 1, CHUNK)
    return run


def long_curve(browser: Browser, service: Service, run: LongRun) -> Iterator[Budget]:
    """Open the job with all its points, and stay while it gets more."""
    with visited(browser, address(service), service.key) as tab:
        tab.page.add_init_script(TASKS)
        tab.page.clock.install()
        page = tab.open(f"/adapters/{run.job}")
        expect(page.get_by_role("img", name="Mistakes")).to_be_visible()
        page.clock.run_for(500)
        before = heap(page)
        yield Budget(f"longest task with {POINTS:,} points", longest(page), 200, "ms")
        yield Budget(f"layout shift with {POINTS:,} points", jumped(page), 0, "")
        for update in range(UPDATES):
            run.grow(POINTS + 1 + 10 * update, 10)
            look_again(tab)
        yield Budget(f"longest task over {UPDATES} updates", longest(page), 200, "ms")
        yield Budget(f"heap with {POINTS:,} points", round(before / 1e6, 2), 15, "MB")
        yield Budget(f"what the heap grows by over {UPDATES} updates", round((heap(page) - before) / 1e6, 2), 5, "MB")


def look_again(tab: Tab) -> None:
    """Let the page's clock reach its next look at the job."""
    with tab.page.expect_response(lambda answer: "/metrics" in answer.url):
        tab.page.clock.run_for(TICK_MS)


def longest(page: Page) -> float:
    return float(page.evaluate("Math.max(0, ...window.tasks.splice(0))"))


def heap(page: Page) -> float:
    """Bytes that scripts hold after everything that nobody holds is let go."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("HeapProfiler.collectGarbage")
    used = float(devtools.send("Runtime.getHeapUsage")["usedSize"])
    devtools.detach()
    return used


def address(service: Service) -> str:
    return f"http://127.0.0.1:{service.port}"


def measure(folder: Path) -> dict[str, Any]:
    settings = Settings(data=folder, requests_per_minute=0)
    with api(settings) as service, chromium() as browser:
        engine = connect(settings.database)
        found = [*first_view(browser, service), everything()]
        found += long_curve(browser, service, long_run(service, sessions(engine)))
        version = browser.version
        engine.dispose()
    machine = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "chromium": version}
    date = datetime.now(UTC).date().isoformat()
    return {"date": date, "machine": machine, "budgets": [{**asdict(one), "kept": one.kept} for one in found]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record = measure(Path(folder))
    for row in record["budgets"]:
        sign = "" if row["kept"] else "  OVER"
        print(f"{row['name']}: {row['measured']:g} {row['unit']} of at most {row['budget']:g}{sign}")
    options.results.write_text(json.dumps(record, indent=1) + "\n")
    raise SystemExit(0 if all(row["kept"] for row in record["budgets"]) else 1)


if __name__ == "__main__":
    main()
