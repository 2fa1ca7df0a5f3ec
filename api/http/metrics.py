"""Counters of requests, as Prometheus reads them."""

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()
ANSWERS = Counter(
    "albatross_http_requests", "Answers of this process", ["method", "route", "status"], registry=REGISTRY
)
SECONDS = Histogram(
    "albatross_http_request_seconds",
    "Time to the end of an answer",
    ["route"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30),
)
