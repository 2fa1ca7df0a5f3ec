"""Take real references through the service with the stock openai client, and write a report about what came back."""

from __future__ import annotations

import argparse
import io
import json
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx
import openai

from core.disk import keep_private
from core.runtime.progress import ProgressLine, duration
from demo.progress import show
from demo.report import Report, write_report
from demo.service import albatross, create_key, keep_serving, running_service

HERE = Path(__file__).parent
# What people do without this service: no backbone data, and training on until the end.
CARELESS: dict[str, object] = {
    "augment": False,
    "stop": "max_steps",
    "max_steps": 250,
    "folds": 2,
    "surrogate_steps": 10,
    "rank": 8,
}
FAMILIES = {
    "images": {
        "backbone": "emoji-ldm",
        "references": HERE / "emoji_ldm/references/cat",
        "heldout": HERE / "emoji_ldm/heldout/cat",
        "preset": "subject",
        "trigger": "sks",
    },
    "texts": {
        "backbone": "smollm2-135m",
        "references": HERE / "texts/references/pirate.jsonl",
        "heldout": HERE / "texts/heldout/pirate.jsonl",
        "preset": "tone",
        "trigger": None,
    },
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument(
        "--family", choices=sorted(FAMILIES), default="images", help="what to adapt: image or text backbone"
    )
    parser.add_argument(
        "--backbone",
        help="its id, as `albatross backbones list --data DATA` has it, DATA being that of --data; "
        "default: one that comes with the service",
    )
    parser.add_argument(
        "--references",
        type=Path,
        help="a folder of images with .txt captions, or a JSONL file; default: the demo's own",
    )
    parser.add_argument("--heldout", type=Path, help="more of the same, never trained on, to measure the effect")
    parser.add_argument(
        "--url", help="use a running service instead of starting one, for example http://localhost:8000"
    )
    parser.add_argument("--api-key", help="with --url: a key made by `albatross keys create`")
    parser.add_argument(
        "--data", type=Path, default=Path("albatross-data/demo"), help="data folder of the service that is started"
    )
    parser.add_argument(
        "--serve", action="store_true", help="keep the service that was started, and say how to see its page"
    )
    parser.add_argument("--out", type=Path, help="folder of the report; default demo-report or demo-report-text")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def packed(references: Path) -> tuple[str, bytes]:
    """One upload: a zip of images and captions, or the JSONL as it is."""
    if references.is_file():
        return references.name, references.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(references.iterdir()):
            if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp", ".txt"}:
                archive.write(path, path.name)
    return f"{references.name}.zip", buffer.getvalue()


def follow(client: openai.OpenAI, job_id: str) -> openai.types.fine_tuning.FineTuningJob:
    """Poll the job to its end, showing stage, share and remaining time."""
    line = ProgressLine(on_output=True)
    while True:
        job = client.fine_tuning.jobs.retrieve(job_id)
        show(line, job.status, (job.model_extra or {}).get("bat") or {})
        if job.status in {"succeeded", "failed", "cancelled"}:
            line.close(f"  {job.status} after {duration(line.seconds())}")
            return job
        time.sleep(1)


def download(client: openai.OpenAI, model: str, form: str, folder: Path) -> Path:
    """Fetch the adapter in one format; a zip is unpacked."""
    headers = {"Authorization": f"Bearer {client.api_key}"}
    url = f"{str(client.base_url).rstrip('/')}/models/{model}/download"
    answer = httpx.get(url, params={"format": form}, headers=headers, follow_redirects=True, timeout=120)
    answer.raise_for_status()
    target = folder / "adapter" / form
    target.mkdir(parents=True, exist_ok=True)
    if answer.content[:2] == b"PK":
        zipfile.ZipFile(io.BytesIO(answer.content)).extractall(target)
        return target
    file = target / "pytorch_lora_weights.safetensors"
    file.write_bytes(answer.content)
    return file


def fetch(client: openai.OpenAI, job_id: str, what: str, **query: object) -> list[dict[str, object]]:
    """All rows of one of the service's own lists (metrics, influence, samples)."""
    rows: list[dict[str, object]] = []
    while True:
        after = {"after": rows[-1]["id"]} if rows else {}
        page = client.get(
            f"/fine_tuning/jobs/{job_id}/{what}", cast_to=httpx.Response, options={"params": {**query, **after}}
        ).json()
        rows += page["data"]
        if not page.get("has_more"):
            return rows


def backbone_folder(family: str, backbone: str, data: Path) -> Path:
    """Where a backbone lies; ends the demo where it is not here, or where its losses can't be told afterwards."""
    from core.backbones.registry import Registry
    from core.errors import NotFound
    from core.settings import Settings
    from demo import check

    try:
        record = Registry.load(Settings(data=data)).get(backbone)
    except NotFound as error:
        raise SystemExit(f"{error.message} It is looked for in {data}; say with --data where else it is.") from error
    if record.kind != family:
        raise SystemExit(f"{backbone} is a backbone of {record.kind}: say --family {record.kind}.")
    if family == "images" and (root := check.unmeasured(record.path)) is not None:
        raise SystemExit(f"The demo measures losses of {', '.join(check.MEASURED)}, and {backbone} is a {root}.")
    return record.path


def measure(family: str, weights: Path, adapter: Path, heldout: Path):
    """Load the adapter with plain library calls and compare losses on held-out references."""
    from demo import check

    if family == "images":
        return check.image_effect(weights, adapter, check.captioned_images(heldout))
    return check.text_effect(weights, adapter, check.read_rows(heldout))


def run_job(
    client: openai.OpenAI, backbone: str, file_id: str, bat: dict[str, object], seed: int
) -> openai.types.fine_tuning.FineTuningJob:
    """Create a job and see it to a good end."""
    job = client.fine_tuning.jobs.create(
        model=backbone, training_file=file_id, suffix="demo", seed=seed, extra_body={"bat": bat}
    )
    print(f"Created {job.id} on {job.model}")
    job = follow(client, job.id)
    if job.status != "succeeded":
        raise SystemExit(f"The job ended as {job.status}: {job.error.message if job.error else 'no reason given'}")
    return job


def overfit(
    client: openai.OpenAI, backbone: str, file_id: str, bat: dict[str, object], seed: int
) -> list[dict[str, object]]:
    """Run the same references carelessly; returns the samples of the last step."""
    print("For comparison: the same references, without backbone data and without stopping")
    job = run_job(client, backbone, file_id, bat | CARELESS, seed)
    return [row for row in fetch(client, job.id, "samples", limit=1000) if "last" in row["labels"]]


def demonstrate(client: openai.OpenAI, arguments: argparse.Namespace) -> tuple[Path, str]:
    """Take the references through the service; returns the report's page, and the id of the job."""
    family = FAMILIES[arguments.family]
    references = arguments.references or family["references"]
    heldout = arguments.heldout or family["heldout"]
    out = arguments.out or Path("demo-report" if arguments.family == "images" else "demo-report-text")
    backbone = arguments.backbone or str(family["backbone"])
    weights = backbone_folder(arguments.family, backbone, arguments.data)
    out.mkdir(parents=True, exist_ok=True)

    name, content = packed(references)
    file = client.files.create(file=(name, content), purpose="fine-tune")
    findings = ((file.model_extra or {}).get("bat") or {}).get("findings") or []
    print(
        f"Uploaded {name}: {file.id}, {file.bytes:,} bytes"
        + "".join(f"\n  note: {finding['message']}" for finding in findings)
    )
    bat = {"preset": family["preset"]} | ({"trigger": family["trigger"]} if family["trigger"] else {})
    job = client.fine_tuning.jobs.create(
        model=backbone, training_file=file.id, suffix="demo", seed=arguments.seed, extra_body={"bat": bat}
    )
    print(f"Created {job.id} on {job.model}")
    job = follow(client, job.id)
    if job.status != "succeeded":
        raise SystemExit(f"The job ended as {job.status}: {job.error.message if job.error else 'no reason given'}")
    form = "diffusers" if arguments.family == "images" else "peft"
    adapter = download(client, str(job.fine_tuned_model), form, out)
    print(f"Downloaded {job.fine_tuned_model} to {adapter}")
    effect = measure(arguments.family, weights, adapter, heldout)
    print(f"Loss on held-out references: {effect.before:.4f} before, {effect.after:.4f} after ({effect.change:+.1%})")
    overfitted = []
    if arguments.family == "images":
        overfitted = overfit(client, job.model, file.id, bat, arguments.seed)
    report = Report(
        family=arguments.family,
        job=json.loads(job.model_dump_json()),
        before=effect.before,
        after=effect.after,
        metrics=fetch(client, job.id, "metrics", limit=1000),
        influence=fetch(client, job.id, "influence", limit=1000),
        samples=fetch(client, job.id, "samples", limit=1000),
        overfitted=overfitted,
    )
    return write_report(report, out), job.id


def tell(page: Path, began: float) -> None:
    print(f"Done in {duration(time.monotonic() - began)}. Open {page}", flush=True)


def main() -> None:
    keep_private()
    arguments = parse()
    if arguments.serve and arguments.url:
        raise SystemExit("A service that runs already goes on by itself; leave --serve out.")
    # so that whoever ends the demo ends its service too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    if arguments.url:
        client = openai.OpenAI(base_url=f"{arguments.url.rstrip('/')}/v1", api_key=arguments.api_key)
        page, _ = demonstrate(client, arguments)
        tell(page, began)
    else:
        arguments.data.mkdir(parents=True, exist_ok=True)
        if arguments.family == "texts":
            subprocess.run(albatross("backbones", "prepare", "smollm2-135m", "--data", str(arguments.data)), check=True)
        with running_service(arguments.data, arguments.data / "serve.log") as address:
            print(f"Albatross is running at {address}; its log is {arguments.data / 'serve.log'}")
            key = create_key(arguments.data, "demo")
            page, job = demonstrate(openai.OpenAI(base_url=f"{address}/v1", api_key=key), arguments)
            tell(page, began)
            if arguments.serve:
                keep_serving(arguments.data, job)


if __name__ == "__main__":
    main()
