"""Debian's gpg finds our users' keys at our provider by itself, by both methods of the Web Key Directory."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from leap.keymanager.wkd_names import advanced_path, direct_path
from tests.conftest import IN_CI, needs_program
from tests.provider.gpg_locates import ALICE, AUTHORITIES
from tests.provider.world import DOMAIN

NAMESPACES = ["unshare", "--mount", "--net"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: gpg's sockets lie in it."""
    made = Path(tempfile.mkdtemp(prefix="w-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def needs_namespaces() -> list[str]:
    """The command that runs another one in namespaces of its own; skips, or fails in CI, where that is not allowed."""
    for program in ("unshare", "mount", "ip", "gpg", "dirmngr"):
        needs_program(program)
    mounting = ["sh", "-c", "ip link set lo up && mount --bind /etc/hosts /etc/hosts"]
    done = subprocess.run([*NAMESPACES, *mounting], capture_output=True, timeout=20)
    if done.returncode or not AUTHORITIES.exists():
        reason = done.stderr.decode().strip() or f"there is no {AUTHORITIES}"
        if IN_CI:
            pytest.fail(f"namespaces are needed: run the tests as root ({reason})")
        pytest.skip(f"namespaces are not permitted here: {reason}")
    return NAMESPACES


@pytest.mark.parametrize("advanced", [True, False])
def test_gpg_locates_our_users_keys(folder: Path, advanced: bool) -> None:
    hosts = [f"openpgpkey.{DOMAIN}"] if advanced else [DOMAIN]
    command = [*needs_namespaces(), sys.executable, "-m", "tests.provider.gpg_locates"]
    done = subprocess.run(
        [*command, str(folder), *hosts], capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["code"] == 0, said
    assert f"fpr:::::::::{said['fingerprint']}:" in said["output"], said
    path = advanced_path(ALICE) if advanced else direct_path(ALICE)
    assert f"{hosts[0]}{path}?l=alice 200" in said["asked"], said
