"""What the page costs a visitor's browser, of the newest `make bench-page`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def budgets_table(record: Mapping[str, Any]) -> str:
    """Return a row for each figure beside its budget; nothing without a record."""
    if not record:
        return ""
    machine = record["machine"]
    of = f"Chromium {machine['chromium'].partition('.')[0]} on {machine['cores']} cores, {record['date']}"
    rows = [
        f"| {row['name']} | {_figure(row['measured'], row)} | {_figure(row['budget'], row)} |"
        for row in record["budgets"]
    ]
    return "\n".join([f"| {of} | measured | at most |", "|---|---|---|", *rows])


def _figure(value: float, row: Mapping[str, Any]) -> str:
    return f"{value:g} {row['unit']}".rstrip()
