"""A test that becomes another user leaves the threads of services beside it as they are."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.other_user import as_nobody


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_another_thread_still_reads_what_the_other_user_may_not(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("ours")
    file.chmod(0o600)
    with ThreadPoolExecutor(1) as beside:
        assert beside.submit(file.read_text).result() == "ours"  # the thread is there before
        with as_nobody():
            with pytest.raises(PermissionError):
                file.read_text()
            assert beside.submit(file.read_text).result() == "ours"
        assert file.read_text() == "ours"
