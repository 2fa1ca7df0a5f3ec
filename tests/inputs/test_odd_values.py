"""Every parameter of every address, with values that no database likes: none is answered 5xx, on both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from core.settings import Settings
from tests.api.server import Service, started

pytestmark = pytest.mark.slow
JSON = {"Content-Type": "application/json"}
HUGE = "9" * 400
ODD = [
    "%00",
    "a%00b",
    "%ED%A0%80",  # half of a pair, as UTF-8
    "%FF%FE",
    quote("\u202e\U0010ffff"),
    HUGE,
    f"-{HUGE}",
    str(2**31),
    str(2**63),
    str(-(2**63) - 1),
    "1e400",
    "NaN",
    "train:999999999",
    "train:%C2%B2",
    "'%22%5C--",
    "%25%5F*",
    "ft:a:b:c:d:ckpt-step-999999999",
    f"ft:a:b:c:d:ckpt-step-{HUGE}",
    "x" * 4000,
]
MANY = {
    "filters": "&".join(f"metadata[k{number}]=v" for number in range(1150)),
    "one filter again and again": "&".join(["metadata[k]=v"] * 3000),
    "a filter as long as may be": f"metadata[{'k' * 64}]={'v' * 30_000}",
    "a filter of a null character": "metadata[k]=%00",
    "a filter of half a pair": "metadata[k]=%ED%A0%80",
    "a filter of nothing": "metadata[]=v",
    "a filter of a key that is too long": f"metadata[{'k' * 65}]=v",
    "a filter that is a path": "metadata[$.a[0]]=1&metadata['x]=2&metadata[a.b]=3",
    "unknown names": "&".join(f"u{number}={number}" for number in range(5000)),
    "limits": "&".join(["limit=1"] * 5000),
}


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgresql").fresh()
    limits = {"requests_per_minute": 1_000_000, "jobs_per_minute": 1_000_000}
    yield from started(Settings(data=tmp_path_factory.mktemp("odd"), database_url=url, **limits))


def operations(service: Service) -> Iterator[tuple[str, str, list[dict[str, str]]]]:
    for path, methods in httpx.get(f"{service.address}/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v1/") and "test" not in path:
                yield method.upper(), path, operation.get("parameters", [])


def filled(path: str, value: str) -> str:
    parts = [value if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


def test_no_value_of_a_parameter_is_a_fault_of_the_service(service: Service) -> None:
    wrong = []
    with service.http() as http:
        for method, path, parameters in operations(service):
            queries = [parameter["name"] for parameter in parameters if parameter["in"] == "query"]
            for value in ODD:
                asked = [filled(path, value)] if "{" in path else []
                asked += [f"{filled(path, 'x')}?{name}={value}" for name in queries]
                for address in asked:
                    answer = http.request(method, address)
                    if answer.status_code >= 500:
                        wrong.append((method, address[:90], answer.status_code))
    assert wrong == []


def test_any_number_of_parameters_is_read_or_refused(service: Service) -> None:
    with service.http() as http:
        for name, query in MANY.items():
            answer = http.get(f"/v1/fine_tuning/jobs?{query}")
            assert answer.status_code < 500, name
        told = http.get(f"/v1/fine_tuning/jobs?{MANY['filters']}")
    assert (told.status_code, told.json()["error"]["code"]) == (400, "invalid_filter")
    assert "At most 16 metadata filters" in told.json()["error"]["message"]


def nested(depth: int) -> list[object]:
    return [nested(depth - 1)] if depth else []


BODIES: dict[str, object] = {
    "a huge seed": {"seed": 10**39},
    "a seed beyond the column": {"seed": 2**63},
    "a negative seed": {"seed": -(2**63) - 1},
    "a null character": {"suffix": "a\0b"},
    "half a pair": {"metadata": {"a": "\ud800"}},
    "a key of half a pair": {"metadata": {"\ud800": "a"}},
    "many files": {"bat": {"training_files": ["file-x"] * 40_000}},
    "a huge number": {"bat": {"rank": 10**39, "max_steps": 10**39, "learning_rate": 1e308, "gamma": 1e308}},
    "a deep one": {"bat": nested(30)},
    "many keys": {f"k{number}": number for number in range(1000)},
    "a long name": {"model": "m" * 100_000},
    "a file of nothing": {"training_file": "\0"},
    "a file in another's shape": {"training_file": "file-" + HUGE},
    "a file of half a pair": {"training_file": "\udfff", "validation_file": "\ud800"},
}


@pytest.mark.parametrize("name", BODIES)
def test_no_body_is_a_fault_of_the_service(service: Service, name: str) -> None:
    body = BODIES[name]
    assert isinstance(body, dict)
    usual = {"model": "tiny-images", "training_file": "file-x"}
    with service.http() as http:
        for method, path, _ in operations(service):
            if method == "POST":
                answer = http.post(filled(path, "x"), content=json.dumps(usual | body), headers=JSON)
                assert 400 <= answer.status_code < 500, path
