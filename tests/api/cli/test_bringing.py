"""`albatross backbones add` with what people have: folders, single files, and a hub that is played here."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from api.cli import __main__ as cli
from api.cli.bringing import draft_folder, locked, run_converter
from core.backbones.hub import selected
from core.backbones.registry import BUILT_IN, Registry
from core.disk import ROOT
from core.errors import InvalidInput
from core.settings import Settings
from tests.api.cli.test_commands import run
from tests.core.backbones.headers import checkpoint, decoder, write_texts, write_weights
from tests.core.backbones.test_folders import PHI

OLD = "cond_stage_model.transformer."  # before the names of an encoder of CLIP, without `text_model.`
COMMIT = "c1899de289a04d12100db370d81485cdf75e47ca"


def entry(data: Path, id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "backbones.json").read_text())["backbones"][id]
    return found


def left(data: Path) -> list[str]:
    """What lies in a data folder after a refusal."""
    return sorted(path.name for path in data.rglob("*") if path.is_file())


def test_adding_says_what_was_taken_and_show_says_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_texts(tmp_path / "qwen", "Qwen3ForCausalLM", "qwen3", max_position_embeddings=64)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert cli.main(["backbones", "add", "mine", str(folder), "--data", str(tmp_path / "data")]) == 0
    added, _, told = capsys.readouterr().out.partition("\n")
    assert added.startswith("Added mine: 4 files, revision ")
    for words in ("Qwen 3 (texts)", "64 tokens", "14 modules: q_proj 2", "GiB|MiB", "apache-2.0", "pytorch_model.bin"):
        assert any(word in told for word in words.split("|"))
    assert cli.main(["backbones", "show", "mine", "--data", str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out == told


def test_people_are_told_of_a_backbone_in_its_operators_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, data = write_texts(tmp_path / "texts"), ["--licence", "CC0", "--data", str(tmp_path / "data")]
    words = ["--title", "Our letters", "--description", "It has read our mail.", "--good-for", "Answers in our voice."]
    assert cli.main(["backbones", "add", "mine", str(folder), *words, *data]) == 0
    told = capsys.readouterr().out
    assert all(said in told for said in words[1::2])
    record = Registry.load(Settings(data=tmp_path / "data")).get("mine")
    assert [record.title, record.description, record.good_for] == words[1::2]
    assert cli.main(["backbones", "add", "other", str(folder), "--title", "x" * 61, *data]) == 2
    assert "--title is one line of 1 to 60 characters." in capsys.readouterr().err


def test_an_operator_says_how_pictures_are_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, data = BUILT_IN["emoji-ldm"], tmp_path / "data"
    said = ["--sample-steps", "8", "--guidance", "1.5", "--data", str(data), "--licence", "Apache-2.0"]
    assert cli.main(["backbones", "add", "mine", str(folder), *said]) == 0
    assert "in 8 steps, with a guidance of 1.5" in capsys.readouterr().out
    assert entry(data, "mine")["defaults"] == {"sample_steps": 8, "guidance": 1.5}


def test_a_backbone_whose_folder_is_gone_is_shown_as_that(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, data = write_texts(tmp_path / "texts"), ["--data", str(tmp_path / "data")]
    assert cli.main(["backbones", "add", "mine", str(folder), "--licence", "CC0", *data]) == 0
    shutil.move(folder, tmp_path / "elsewhere")
    assert cli.main(["backbones", "show", "mine", *data]) == 2
    assert f"The folder of mine is not there: {folder}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{texts}", "--family", "language"], "The family is read"),
        (["{texts}", "--resolution", "512"], "leave --resolution out"),
        (["{texts}", "--resolution", "500"], "multiple of 8"),
        (["{texts}", "--sample-steps", "8"], "leave --sample-steps out"),
        (["{texts}", "--guidance", "0"], "leave --guidance out"),
        (["{texts}", "--sample-steps", "0"], "sample-steps"),
        (["{texts}", "--guidance", "31"], "guidance"),
        (["{texts}", "--objective", "v"], "--objective is a single file's"),
        (["{texts}", "--config", "{texts}"], "--config is a single file's"),
        (["{texts}", "--revision", "main"], "--revision is the hub's"),
        (["{texts}", "--target", "to_q"], "target to_q"),
        (["{file}", "--revision", "main"], "--revision is the hub's"),
        (["{file}"], "begins with 16 channels"),
        (["{folder}/nowhere"], "There is no "),
        (["{texts}", "--pool", "{folder}"], "has no index.jsonl"),
        (["emoji-ldm"], "There is no "),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    places = {
        "texts": write_texts(tmp_path / "texts"),
        "file": write_weights(tmp_path / "x.safetensors", checkpoint("sd1", width=16)),
        "folder": tmp_path,
    }
    asked = [each.format(**places) for each in arguments]
    data = tmp_path / "data"
    assert cli.main(["backbones", "add", "mine", *asked, "--licence", "CC0", "--data", str(data)]) == 2
    assert words in capsys.readouterr().err
    assert left(data) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "The file names no licence; say it with --licence NAME"),
        (["--licence", "CC0", "--pool", "{folder}"], "has no index.jsonl"),
        (["--licence", "CC0", "--hub-name", "x"], "A hub name is ORG/NAME"),
        (["--licence", "CC0", "--resolution", "500"], "multiple of 8"),
    ],
)
def test_what_is_missing_is_told_before_a_file_is_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    file = write_weights(tmp_path / "x.safetensors", checkpoint("sd1"))
    said = [each.format(folder=tmp_path) for each in arguments]
    assert cli.main(["backbones", "add", "mine", str(file), *said, "--data", str(tmp_path / "data")]) == 2
    told = capsys.readouterr()
    assert words in told.err
    assert "Converting" not in told.out


def test_adding_an_id_again_says_what_it_takes_the_place_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = write_texts(tmp_path / "first"), write_texts(tmp_path / "second")
    for folder, told in ((first, False), (first, False), (second, True)):
        said = ["--licence", "CC0", "--data", str(tmp_path / "data")]
        assert cli.main(["backbones", "add", "mine", str(folder), *said]) == 0
        assert (f"It takes the place of {first} for jobs to come" in capsys.readouterr().out) is told
    assert entry(tmp_path / "data", "mine")["path"] == str(second)


def test_an_id_that_is_taken_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path / "data")]
    assert cli.main(["backbones", "add", "emoji-ldm", "/nowhere", *data]) == 2
    assert "emoji-ldm is built in" in capsys.readouterr().err


@pytest.fixture(scope="session")
def single_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny checkpoints in one file, each beside the folder that it was made from."""
    from transformers import CLIPTextModel

    from tests.core.backbones.checkpoints import write_checkpoint
    from tests.tiny_backbones import random_diffusion

    place = tmp_path_factory.mktemp("single-files")
    for name in ("sd1", "sd2"):
        pipeline = random_diffusion()
        if name == "sd2":  # OpenCLIP's way to act, and projections without convolutions
            configuration = pipeline.text_encoder.config
            configuration.hidden_act = "gelu"
            pipeline.text_encoder = CLIPTextModel(configuration)
            told = {key: value for key, value in pipeline.unet.config.items() if not key.startswith("_")}
            pipeline.unet = type(pipeline.unet)(**told | {"use_linear_projection": True})
        pipeline.save_pretrained(place / name)
        write_checkpoint(pipeline, place / f"{name}.safetensors")
    return place


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd1", pytest.param("sd2", marks=pytest.mark.long)])
def test_a_single_file_becomes_the_folder_that_it_was_made_from(
    single_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    import torch
    from safetensors.torch import load_file

    file, folder, data = single_files / f"{name}.safetensors", single_files / name, tmp_path / "data"
    said = ("--config", str(folder), "--licence", "CC0", "--data", str(data))
    assert cli.main(["backbones", "add", "mine", str(file), *said]) == 0
    told = capsys.readouterr().out
    record = entry(data, "mine")
    assert (record["family"], record["objective"], record["resolution"]) == (name, "epsilon", 16)
    assert hashlib.sha256(file.read_bytes()).hexdigest() in told
    made = Path(record["path"])
    assert made.name == f"mine-{record['revision']}"
    assert [path.name for path in (data / "backbones").iterdir()] == [made.name]
    for part in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        before, after = load_file(folder / f"{part}.safetensors"), load_file(made / f"{part}.safetensors")
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.slow
def test_a_single_file_whose_tensors_do_not_fit_is_refused_and_leaves_nothing(
    single_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, config = tmp_path / "data", Path(shutil.copytree(single_files / "sd1", tmp_path / "config"))
    unet = json.loads((config / "unet/config.json").read_text())
    (config / "unet/config.json").write_text(json.dumps(unet | {"cross_attention_dim": 64}))
    file = single_files / "sd1.safetensors"
    said = ("--config", str(config), "--licence", "CC0", "--data", str(data))
    assert cli.main(["backbones", "add", "mine", str(file), *said]) == 2
    assert "its tensors do not fit the configuration of its parts" in capsys.readouterr().err
    assert left(data) == []


@pytest.mark.slow
def test_a_single_file_with_an_encoder_named_as_novelai_does_becomes_the_same_folder(
    single_files: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    tensors = load_file(single_files / "sd1.safetensors")
    old = {name.replace("cond_stage_model.transformer.text_model.", OLD): each for name, each in tensors.items()}
    old[f"{OLD}embeddings.position_ids"] = torch.arange(24)[None]
    save_file(old, tmp_path / "nai.safetensors")
    said = ("--config", str(single_files / "sd1"), "--licence", "CC0", "--data", str(tmp_path / "data"))
    assert cli.main(["backbones", "add", "mine", str(tmp_path / "nai.safetensors"), *said]) == 0
    made = Path(entry(tmp_path / "data", "mine")["path"])
    before = load_file(single_files / "sd1/text_encoder/model.safetensors")
    after = load_file(made / "text_encoder/model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.slow
def test_a_conversion_that_is_killed_registers_nothing_and_the_next_one_clears_what_it_left(
    single_files: Path, tmp_path: Path
) -> None:
    data, file = tmp_path / "data", str(single_files / "sd1.safetensors")
    said = ("--config", str(single_files / "sd1"), "--licence", "CC0", "--data", str(data))
    started = subprocess.Popen([sys.executable, "-m", "api.cli", "backbones", "add", "mine", file, *said], cwd=ROOT)
    while not list((data / "backbones").glob(".draft-*")):
        time.sleep(0.02)
    started.kill()
    started.wait()
    assert not (data / "backbones.json").exists()
    assert len(list((data / "backbones").iterdir())) == 1
    while _locked_by_somebody(next((data / "backbones").iterdir())):  # its converter goes on for a while
        time.sleep(0.1)
    assert cli.main(["backbones", "add", "mine", file, *said]) == 0
    assert [path.name for path in (data / "backbones").iterdir()] == [Path(entry(data, "mine")["path"]).name]


def _locked_by_somebody(folder: Path) -> bool:
    try:
        with locked(folder):
            return False
    except BlockingIOError:
        return True


def test_a_draft_that_somebody_works_on_is_left_alone(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    with draft_folder("one", settings) as first, draft_folder("two", settings) as second:
        assert first.is_dir()
        assert second.is_dir()
    assert list((tmp_path / "backbones").iterdir()) == []


FULL = Path("/dev/full")  # a device on which every write ends for want of room


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_full_is_not_said_to_be_a_file_that_does_not_fit(
    single_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "target"
    (target / "unet").mkdir(parents=True)
    (target / "unet/config.json").symlink_to(FULL)
    layout = Path(shutil.copytree(single_files / "sd1", tmp_path / "layout"))
    with pytest.raises(InvalidInput, match=r"has no room for a folder as large as sd1\.safetensors"):
        run_converter(single_files / "sd1.safetensors", layout, "sd1", "float32", target)


class Hub(ThreadingHTTPServer):
    """A hub of one model: the answers that its client asks for, from a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, list[str]()
        super().__init__(("127.0.0.1", 0), Answers)


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/my-org/tiny"):
            names = [each.relative_to(self.server.folder).as_posix() for each in self.server.folder.rglob("*")]
            files = [name for name in names if (self.server.folder / name).is_file()]
            known = {"id": "my-org/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in sorted(files)]}
            if "/tree/" in path:
                self._say([self._listed(name) for name in sorted(files)])
            elif path.endswith(("/tiny", "/main", COMMIT)):
                self._say(known)
            else:
                self._refuse("RevisionNotFound")
        elif path.startswith(f"/my-org/tiny/resolve/{COMMIT}/"):
            self._give(path.removeprefix(f"/my-org/tiny/resolve/{COMMIT}/"))
        else:
            self._refuse("RepoNotFound")

    def _listed(self, name: str) -> dict[str, object]:
        content = (self.server.folder / name).read_bytes()
        return {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}

    def _say(self, content: object) -> None:
        self._answer(json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _give(self, name: str) -> None:
        if self.command == "GET":
            self.server.asked.append(name)
        content = (self.server.folder / name).read_bytes()
        self._answer(content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT})

    def _answer(self, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _refuse(self, why: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", why)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = write_texts(tmp_path / "hub", "Phi3ForCausalLM", "phi3", auto_map={"AutoModelForCausalLM": "modeling.X"})
    write_weights(folder / "model.safetensors", decoder(projections=PHI))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    for stray in ("modeling.py", "pytorch_model.bin", "consolidated.safetensors"):
        (folder / stray).write_bytes(b"x")
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def add_from_hub(hub: Hub, tmp_path: Path) -> Callable[..., Any]:
    environment = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}", "HF_HOME": str(tmp_path / "home")}
    environment |= {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}  # whatever other tests made of this process

    def add(*arguments: str) -> Any:
        return run("backbones", "add", "mine", *arguments, "--data", str(tmp_path / "data"), **environment)

    return add


@pytest.mark.slow
def test_a_model_of_the_hub_is_fetched_at_a_commit_without_what_is_never_loaded(
    hub: Hub, add_from_hub: Callable[..., Any], tmp_path: Path
) -> None:
    done = add_from_hub("my-org/tiny")
    assert done.returncode == 0, done.stderr
    assert sorted(hub.asked) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    record = entry(tmp_path / "data", "mine")
    assert (record["family"], record["licence"], record["hub_name"]) == ("phi3", "mit", "my-org/tiny")
    assert f"at commit {COMMIT}" in record["notes"][0]
    assert "auto_map" in record["notes"][1]
    assert "auto_map" not in json.loads((Path(record["path"]) / "config.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["my-org/tiny", "--revision", "0" * 40], "not this revision"),
        (["my-org/other"], "The hub has no model my-org/other"),
    ],
)
def test_what_the_hub_does_not_have_is_said(
    add_from_hub: Callable[..., Any], tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = add_from_hub(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert left(tmp_path / "data") == []


@pytest.mark.slow
def test_a_class_that_is_not_taken_is_refused_before_its_weights_are_fetched(
    hub: Hub, add_from_hub: Callable[..., Any], tmp_path: Path
) -> None:
    config = json.loads((hub.folder / "config.json").read_text())
    (hub.folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertForMaskedLM"]}))
    done = add_from_hub("my-org/tiny")
    assert done.returncode == 2
    assert "BertForMaskedLM" in done.stderr
    assert "model.safetensors" not in hub.asked
    assert left(tmp_path / "data") == []


@pytest.mark.slow
def test_without_network_the_hub_is_said_to_be_out_of_reach(tmp_path: Path) -> None:
    done = run(
        *("backbones", "add", "mine", "my-org/tiny", "--data", str(tmp_path / "data")),
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HOME=str(tmp_path),
    )
    assert done.returncode == 2
    assert "my-org/tiny can't be fetched from the hub" in done.stderr
    assert "give the folder here" in done.stderr
    assert "There is no my-org/tiny on this machine" in done.stderr


def test_of_a_pipeline_on_the_hub_one_set_of_weights_is_chosen() -> None:
    parts = ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model")
    plain = [f"{part}.safetensors" for part in parts]
    half = [f"{part}.fp16.safetensors" for part in parts]
    other = ["v1-5.safetensors", "unet/diffusion_pytorch_model.bin", "safety_checker/model.safetensors", "x.py"]
    small = ["model_index.json", "unet/config.json", "tokenizer/merges.txt", "README.md"]
    assert set(selected([*small, *plain, *half, *other])) == {*small, *plain}
    assert set(selected([*small, *half, *other])) == {*small, *half}


def test_of_a_flow_on_the_hub_every_part_of_its_family_is_fetched() -> None:
    network = [f"transformer/diffusion_pytorch_model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    encoders = ["text_encoder/model.safetensors", "text_encoder_3/model-00001-of-00001.safetensors"]
    small = ["model_index.json", "tokenizer_3/tokenizer.json", "transformer/config.json", "text_encoder_3/config.json"]
    small += [
        f"{place}.safetensors.index.json" for place in ("transformer/diffusion_pytorch_model", "text_encoder_3/model")
    ]
    beside = ["sd3.5_large.safetensors", "text_encoders/t5xxl.safetensors", "image_encoder/model.safetensors"]
    assert set(selected([*small, *network, *encoders, *beside])) == {*small, *network, *encoders}
