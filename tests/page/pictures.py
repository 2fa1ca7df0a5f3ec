"""Photograph every state of the page, light, dark and on a phone, while the demo's references are learned for real."""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, expect

from core.disk import ROOT
from core.settings import Settings
from demo.service import albatross
from tests.page.browser import Tab, chromium, visited
from tests.page.plant import JOBS, Plant, planted
from tests.page.references import file

OUT = ROOT / "docs/page"
REFERENCES = ROOT / "demo/emoji_ldm/references"
PIRATE = ROOT / "demo/texts/references/pirate.jsonl"
PATIENCE = 7200  # seconds for a whole job, beside whatever else the machine does
SETTLE_MS = 500
COLOURS = 96
FORMS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 800}},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
}
QUICK = {"max_steps": 60, "surrogate_steps": 20}
Act = Callable[[Tab], None]


@dataclass(frozen=True)
class Camera:
    """Takes a state in every form, into a folder."""

    browser: Browser
    plant: Plant
    out: Path

    def take(self, name: str, act: Act, *, signed: bool = True) -> None:
        for form, options in FORMS.items():
            with visited(self.browser, self.plant.address, self.plant.key if signed else None, **options) as tab:
                act(tab)
                tab.page.evaluate("document.fonts.ready")
                tab.page.mouse.move(0, 0)
                tab.page.evaluate("scrollTo(0, 0)")
                self._save(f"{name}-{form}", tab.page.screenshot(full_page=True, animations="disabled"))
                tab.expect()

    def _save(self, name: str, png: bytes) -> None:
        image = Image.open(io.BytesIO(png)).convert("RGB")
        flat = image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        flat.save(self.out / f"{name}.png", optimize=True)
        print(name, flush=True)


def at(path: str, words: str | re.Pattern[str]) -> Act:
    """Open an address and wait for words on it."""

    def act(tab: Tab) -> None:
        tab.open(path)
        expect(tab.page.get_by_text(words).first).to_be_visible()
        tab.page.wait_for_timeout(SETTLE_MS)  # for pictures and words that come by answers of their own

    return act


def larger(path: Path) -> bytes:
    """The same picture again, as nobody would notice."""
    buffer = io.BytesIO()
    Image.open(path).resize((80, 80)).save(buffer, "PNG")
    return buffer.getvalue()


def cats(tab: Tab) -> None:
    """Give the demo's cats, a copy of one of them, and something that is none and has no caption."""
    tab.open("/new")
    names = sorted((REFERENCES / "cat").iterdir())
    given = [file(path.name, path.read_bytes()) for path in names]
    given += [file("copy.png", larger(names[0])), file("other.png", (REFERENCES / "vehicles/02.png").read_bytes())]
    tab.give(given)
    expect(tab.page.get_by_role("heading", name=re.compile("^8 pictures"))).to_be_visible()
    tab.write("A name", "my-cat")
    expect(tab.page.get_by_text(re.compile("^About "))).to_be_visible()


def pirate(tab: Tab) -> None:
    tab.open("/new")
    tab.give([file("pirate.jsonl", PIRATE.read_bytes())])
    expect(tab.page.get_by_role("heading", name=re.compile("^12 texts"))).to_be_visible()
    expect(tab.page.get_by_text(re.compile("^About "))).to_be_visible()


def erasing(path: str) -> Act:
    def act(tab: Tab) -> None:
        tab.open(path)
        tab.press("Erase this adapter")

    return act


def away(path: str) -> Act:
    """Lose the service while its work is looked at."""

    def act(tab: Tab) -> None:
        at(path, "Working")(tab)
        tab.page.context.set_offline(True)
        expect(tab.page.get_by_text("does not answer")).to_be_visible()

    return act


def signed_out(tab: Tab) -> None:
    """Lose the key in the middle of typing."""
    tab.open("/new")
    tab.give([file("pirate.jsonl", PIRATE.read_bytes())])
    expect(tab.page.get_by_role("heading", name=re.compile("^12 texts"))).to_be_visible()
    tab.page.evaluate("sessionStorage.setItem('albatross.key', 'alb_gone')")
    tab.press("Settings", "link")
    expect(tab.page.get_by_text("has expired or was withdrawn")).to_be_visible()


def another_step(path: str) -> Act:
    """Choose the last kept step in place of the published one."""

    def act(tab: Tab) -> None:
        tab.open(path)
        tab.page.get_by_role("radio").last.click()
        expect(tab.page.get_by_role("button", name="Make an adapter of it")).to_be_visible()

    return act


def cat_job(plant: Plant, bat: dict[str, Any]) -> str:
    """Ask for an adapter of what `cats` shows."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted((REFERENCES / "cat").iterdir()):
            archive.write(path, path.name)
        archive.writestr("copy.png", larger(REFERENCES / "cat/01.png"))
        archive.write(REFERENCES / "vehicles/02.png", "other.png")
    return plant.create(plant.upload("pictures.zip", buffer.getvalue()), "emoji-ldm", "my-cat", **bat)


def before_any(camera: Camera) -> None:
    camera.take("welcome", at("/", "Make the first one"))
    camera.take("sign-in", at("/", "Your key"), signed=False)
    camera.take("new", at("/new", "Drop pictures or texts here"))
    camera.take("new-pictures", cats)
    camera.take("new-texts", pirate)
    camera.take("signed-out", signed_out)
    camera.take("nowhere", at("/adapters/nobody", "nothing here"))


def at_work(camera: Camera, job: str) -> None:
    plant = camera.plant
    plant.wait(job, lambda found: found["bat"]["stage"] == "surrogate")
    camera.take("working-early", at(f"/adapters/{job}", "Working"))
    order(plant, job, "pause")
    plant.wait(job, lambda found: found["status"] == "paused")
    camera.take("paused", at(f"/adapters/{job}", "Paused"))
    order(plant, job, "resume")
    plant.wait(job, lambda found: found["bat"]["stage"] == "train" and found["bat"]["progress"] > 0.3)
    camera.take("working", at(f"/adapters/{job}", "Working"))
    camera.take("away", away(f"/adapters/{job}"))


def order(plant: Plant, job: str, what: str) -> None:
    with plant.http() as http:
        assert http.post(f"{JOBS}/{job}/{what}").status_code == 200


def afterwards(camera: Camera, job: str, stopped: str) -> None:
    camera.take("result", at(f"/adapters/{job}", "Why it stopped here"))
    camera.take("another-step", another_step(f"/adapters/{job}"))
    camera.take("training", at(f"/adapters/{job}/training", "How it went"))
    camera.take("erase", erasing(f"/adapters/{job}"))
    camera.take("stopped", at(f"/adapters/{stopped}", "Stopped"))
    camera.take("settings", at("/settings", "Webhooks"))


def others(camera: Camera, bat: dict[str, Any]) -> None:
    """What becomes of texts; at first while their model is away."""
    plant = camera.plant
    pirate = plant.upload("pirate.jsonl", PIRATE.read_bytes())
    model = plant.settings.data / "backbones/smollm2-135m"
    lost = plant.create(pirate, model.name, "pirate")
    model.rename(model.with_name("away"))
    assert plant.wait(lost)["status"] == "failed"
    model.with_name("away").rename(model)
    camera.take("failed", at(f"/adapters/{lost}", "Failed"))
    texts = plant.create(pirate, model.name, "pirate", **bat)
    plant.wait(texts, lambda found: found["bat"]["stage"] == "train" and found["bat"]["progress"] > 0.3)
    camera.take("working-texts", at(f"/adapters/{texts}", "Working"))
    plant.finished(texts)
    camera.take("result-texts", at(f"/adapters/{texts}", "Why it stopped here"))
    camera.take("training-texts", at(f"/adapters/{texts}/training", "How it went"))
    camera.take("adapters", at("/", "Your adapters"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.page.pictures", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--quick", action="store_true", help="few steps, for a look at the page and not at its job")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bat = QUICK if options.quick else {}
    with (
        tempfile.TemporaryDirectory() as folder,
        planted(Path(folder), Settings(data=Path(folder) / "data")) as plant,
        chromium() as browser,
    ):
        subprocess.run(
            albatross("backbones", "prepare", "smollm2-135m", "--data", str(plant.settings.data)), check=True
        )
        camera = Camera(browser, replace(plant, patience=PATIENCE), options.out)
        before_any(camera)
        job, stopped = cat_job(plant, bat), cat_job(plant, bat)
        camera.take("waiting", at(f"/adapters/{stopped}", "Waiting"))
        order(plant, stopped, "cancel")
        at_work(camera, job)
        afterwards(camera, camera.plant.finished(job), stopped)
        others(camera, bat)


if __name__ == "__main__":
    main()
