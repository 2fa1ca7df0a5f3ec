"""Change files so that ever more of a reader's code runs: `python -m tests.inputs.fuzz file|form|json SECONDS`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import tempfile
from pathlib import Path

LARGEST = 20_000
WATCHED = ["api.http.bodies", "api.http.multipart", "core", "zipfile", "json", "python_multipart"]


def main() -> None:
    name, seconds = sys.argv[1:3]
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: nothing is done")
        return
    import atheris

    with atheris.instrument_imports(include=WATCHED):
        readers = importlib.import_module("tests.inputs.readers")
        mutation = importlib.import_module("tests.inputs.mutation")
    wire = importlib.import_module("tests.inputs.wire")
    corpus = Path(tempfile.mkdtemp(prefix="albatross-fuzz-"))
    for number, sample in enumerate(mutation.SAMPLES.values()):
        (corpus / f"{number}").write_bytes(wire.form(sample[:5_000]) if name == "form" else sample)
    limits = [f"-max_total_time={seconds}", f"-max_len={LARGEST}", "-timeout=10", "-rss_limit_mb=2048"]
    with getattr(readers, f"{name}_reader")() as reader:
        atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", str(corpus)], reader)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
