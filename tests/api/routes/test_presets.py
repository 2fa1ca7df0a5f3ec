"""Presets and taggers as jobs name them, listed with their reasons."""

from __future__ import annotations

import httpx

from tests.api.server import Service, refused

JOBS = "/v1/fine_tuning/jobs"


def test_an_operators_new_preset_needs_no_restart(service: Service, http: httpx.Client) -> None:
    folder = service.settings.presets_folder
    folder.mkdir(exist_ok=True)
    known = len(http.get("/v1/presets").json()["data"])
    own = 'name = "logo"\nversion = 1\nkind = "images"\ndescription = "a mark"\nlearns = "its lines"\n'
    (folder / "logo.toml").write_text(own)
    assert "logo" in [preset["name"] for preset in http.get("/v1/presets").json()["data"]]
    (folder / "logo.toml").unlink()
    assert len(http.get("/v1/presets").json()["data"]) == known


def test_presets_are_listed_with_reasons(http: httpx.Client) -> None:
    listed = http.get("/v1/presets").json()
    names = [preset["name"] for preset in listed["data"]]
    assert names == ["face", "format", "paper-image", "paper-text", "style", "subject", "tone"]
    by_name = dict(zip(names, listed["data"], strict=True))
    style, paper = by_name["style"], by_name["paper-image"]
    assert {name for name in names if by_name[name]["advanced"]} == {"paper-image", "paper-text"}
    assert (paper["stop"]["rule"], style["stop"]) == ("cs_fluctuation", None)
    assert {value["name"]: value["passes"] for value in paper["values"]}["window"] == 50
    assert (style["object"], style["version"], style["kind"], style["source"]) == ("preset", 3, "images", "built-in")
    values = {value["name"]: value for value in style["values"]}
    assert (values["max_steps"]["times"], values["max_steps"]["measured"]) == (1.25, True)
    assert values["gamma"]["value"] == 0
    assert (style["protect"]["means"], style["protect"]["measured"]) == ("none", True)
    assert all(preset["protect"]["why"] for preset in listed["data"])
    assert style["alias_of"] is None
    face, subject = by_name["face"], by_name["subject"]
    assert (face["alias_of"], face["values"]) == ("subject", subject["values"])
    assert "those of subject" in face["learns"]
    rest = http.get("/v1/presets", params={"after": "format", "limit": 2}).json()
    assert ([preset["id"] for preset in rest["data"]], rest["has_more"]) == (["paper-image", "paper-text"], True)
    refused(http.get("/v1/presets", params={"after": "logo"}), 400, "invalid_cursor")


def test_a_preset_or_tagger_that_is_not_there_is_400(http: httpx.Client, image_file: str) -> None:
    body = {"model": "tiny-images", "training_file": image_file}
    error = refused(http.post(JOBS, json={**body, "bat": {"preset": "logo"}}), 400, "preset_not_found")
    assert (error["param"], "face, paper-image, style, subject" in error["message"]) == ("bat.preset", True)
    assert refused(http.post(JOBS, json={**body, "bat": {"caption": "blip"}}), 400, "tagger_not_found")["param"] == (
        "bat.caption"
    )
    assert http.post(JOBS, json={**body, "bat": {"caption": "colours"}}).status_code == 200


def test_a_job_at_the_papers_settings_is_estimated_and_says_why(
    http: httpx.Client, image_file: str, text_file: str
) -> None:
    for model, file, preset in (("tiny-images", image_file, "paper-image"), ("tiny-texts", text_file, "paper-text")):
        body = {"model": model, "training_file": file}
        usual, paper = (
            http.post(f"{JOBS}/estimate", json=body | {"bat": {"preset": name}}).json() for name in ("auto", preset)
        )
        assert paper["seconds"]["expected"] > usual["seconds"]["expected"]
        assert paper["stages"]["trial"]["high"] == 0  # the share is not tried
        resolved = paper["resolved"]
        assert (resolved["stop"], resolved["gamma"]) == ("cs_fluctuation", 0.5)
        assert "copies of the last" in resolved["reasons"]["window"]
    assert resolved["batch_size"] < 16
    assert "and a batch holds each of them once" in resolved["reasons"]["batch_size"]
