"""A real Chromium, and tabs of it that write down whatever no visit to the page may cause."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Page, Request, expect, sync_playwright

# whatever reaches past the right edge, and is neither cut off nor scrolled on its own
OUT = """[...document.querySelectorAll("main *, header *")].filter((node) => {
  if (node.getBoundingClientRect().right <= innerWidth + 1) return false;
  for (let up = node.parentElement; up && up !== document.body; up = up.parentElement)
    if (getComputedStyle(up).overflowX !== "visible") return false;
  return true;
}).map((node) => node.outerHTML.slice(0, 120))"""
CHROMIUM = shutil.which("chromium")
MISSING = "Chromium is missing: as root, `make system` installs it"
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)
# what the browser itself says of an answer above 399, which a test may expect
REFUSED = r"status of (4\d\d|5\d\d)|net::ERR_"
SIGN_IN = """key => {
  if (location.protocol !== "http:" || sessionStorage.getItem("signed")) return;
  sessionStorage.setItem("signed", "once");
  sessionStorage.setItem("albatross.key", key);
}"""
# what a job learns from, as the API tells it
ITEMS = """async (job) => {
  const headers = { authorization: `Bearer ${sessionStorage.getItem("albatross.key")}` };
  const ask = async (path) => (await fetch(path, { headers })).json();
  const { training_file: file } = await ask(`/v1/fine_tuning/jobs/${job}`);
  return (await ask(`/v1/files/${file}/items`)).data;
}"""
WATCH = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
window.shifts = [];
new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
  const moved = entry.sources.map((source) => source.node?.outerHTML?.slice(0, 90));
  if (!entry.hadRecentInput) window.shifts.push([entry.value, moved]);
})).observe({ type: "layout-shift", buffered: true });
"""


@dataclass
class Tab:
    """A tab of one visitor, at the address of a service."""

    page: Page
    address: str
    key: str | None
    faults: list[str] = field(default_factory=list)
    acts: int = 0  # touches of the visitor: opening, pressing, choosing, writing

    def open(self, path: str) -> Page:
        self.acts += 1
        self.page.goto(f"{self.address}{path}")
        return self.page

    def press(self, name: str | re.Pattern[str], role: Any = "button") -> None:
        self.acts += 1
        self.page.get_by_role(role, name=name, exact=isinstance(name, str)).first.click()

    def write(self, label: str | re.Pattern[str], words: str) -> None:
        self.acts += 1
        self.page.get_by_label(label).first.fill(words)

    def give(self, files: Sequence[FilePayload], button: str = "choose files") -> None:
        """Choose files in the dialog that the button opens."""
        with self.page.expect_file_chooser() as chooser:
            self.press(button)
        chooser.value.set_files(files)

    def expect(self, pattern: str = REFUSED) -> None:
        """Forget faults that a test has caused on purpose."""
        self.faults[:] = [fault for fault in self.faults if not re.search(pattern, fault)]

    def stands_still(self) -> None:
        """Nothing has jumped since the page was opened, but under somebody's touch."""
        shifts: list[Any] = self.page.evaluate("window.shifts")
        assert (jumps := [(value, moved) for value, moved in shifts if value >= 0.001]) == [], jumps

    def fits(self) -> None:
        """Nothing reaches past the window's edge."""
        if self.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            raise AssertionError("\n".join(self.page.evaluate(OUT)))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _error(self, error: Exception) -> None:
        self.faults.append(f"error: {error}")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.address}/", "data:", "blob:")):
            self.faults.append(f"another host: {request.url}")
        if self.key and self.key in request.url:
            self.faults.append(f"the key in an address: {request.url}")
        if request.headers.get("referer"):
            self.faults.append(f"a referrer: {request.headers['referer']}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser, driven by Playwright; nothing is downloaded."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@contextmanager
def visited(browser: Browser, address: str, key: str | None = None, **options: Any) -> Iterator[Tab]:
    """A tab without a past, signed in if there is a key; at the end nothing may be held against it."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **options})
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(WATCH)
    if key:
        context.add_init_script(f"({SIGN_IN})({json.dumps(key)})")
    page = context.new_page()
    tab = Tab(page, address, key)
    page.on("console", tab._console)
    page.on("pageerror", tab._error)
    page.on("request", tab._request)
    try:
        yield tab
        assert not tab.faults, "\n".join(tab.faults)
    finally:
        context.close()


def kept(download: Any) -> bytes:
    """The bytes that a visitor would find in the downloads."""
    return Path(download.path()).read_bytes()


def number(page: Page, words: str) -> None:
    """Wait until the page counts so many files."""
    expect(page.get_by_role("heading", name=re.compile(f"^{words}"))).to_be_visible()
