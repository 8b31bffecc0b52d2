"""Instances of EC2 keep their own role from the containers that run on them."""

import os
import re
import subprocess
from email import message_from_string
from email.message import Message
from pathlib import Path
from textwrap import dedent

import pytest

from tests.terraform.sources import ROOT, text

METADATA = "169.254.169.254"


def boot() -> Message:
    """Return what an instance is told to do when it starts, as cloud-init takes it apart."""
    written = text("instances.tf").partition("<<-EOT\n")[2].partition("  EOT\n")[0]
    return message_from_string(dedent(written))


def called(folder: Path, *, iptables_fails: bool) -> list[str]:
    """Run the boothook with an iptables and an ip that write down how they were called; return that."""
    (part,) = boot().get_payload()
    script = folder / "boothook"
    script.write_text(part.get_payload().removeprefix("#cloud-boothook\n"))
    for name, status in (("iptables", int(iptables_fails)), ("ip", 0)):
        command = folder / name
        command.write_text(f'#!/bin/sh\necho "{name} $*"\nexit {status}\n')
        command.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(script)], env={"PATH": f"{folder}:{os.defpath}"}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_user_data_is_mime_with_a_boothook() -> None:
    """Batch adds its own user data, so it takes what is MIME alone; a boothook runs at every start."""
    assert boot().get_content_type() == "multipart/mixed"
    (part,) = boot().get_payload()
    assert part.get_content_type() == "text/cloud-boothook"
    assert part.get_payload().startswith("#cloud-boothook\n#!/bin/sh\n")


@pytest.mark.parametrize("iptables_fails", [False, True])
def test_only_root_can_reach_the_metadata(tmp_path: Path, iptables_fails: bool) -> None:
    """Packets to the metadata of whoever is not root are refused, by the routes if not by the filter."""
    by_filter, *by_route = called(tmp_path, iptables_fails=iptables_fails)
    assert f"-I OUTPUT -d {METADATA} -m owner ! --uid-owner 0 -j REJECT" in by_filter
    rule = f"ip rule add to {METADATA} uidrange 1-4294967294 priority 10 protocol kernel prohibit"
    assert by_route == ([rule] if iptables_fails else [])


def test_image_user_is_not_root() -> None:
    """Who a container is decides, so the loader's image must not be root."""
    (user,) = re.findall(r"^USER (\d+):\d+$", (ROOT / "Dockerfile.loader").read_text(), re.MULTILINE)
    assert int(user) > 0
