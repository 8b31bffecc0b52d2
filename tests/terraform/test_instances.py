"""Containers cannot use the role of the EC2 instance on which they run."""

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
    """Return the user data of an instance, parsed as by cloud-init."""
    written = text("instances.tf").partition("<<-EOT\n")[2].partition("  EOT\n")[0]
    return message_from_string(dedent(written))


def called(folder: Path, *, iptables_fails: bool) -> list[str]:
    """Run the boothook with stand-ins for iptables and ip; return their recorded calls."""
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
    """Batch accepts only MIME user data, to which it adds its own; a boothook runs at every start."""
    assert boot().get_content_type() == "multipart/mixed"
    (part,) = boot().get_payload()
    assert part.get_content_type() == "text/cloud-boothook"
    assert part.get_payload().startswith("#cloud-boothook\n#!/bin/sh\n")


@pytest.mark.parametrize("iptables_fails", [False, True])
def test_only_root_can_reach_the_metadata(tmp_path: Path, iptables_fails: bool) -> None:
    """Only root can reach the metadata service, enforced by routes if not by the packet filter."""
    by_filter, *by_route = called(tmp_path, iptables_fails=iptables_fails)
    assert f"-I OUTPUT -d {METADATA} -m owner ! --uid-owner 0 -j REJECT" in by_filter
    rule = f"ip rule add to {METADATA} uidrange 1-4294967294 priority 10 protocol kernel prohibit"
    assert by_route == ([rule] if iptables_fails else [])


def test_image_user_is_not_root() -> None:
    """The loader's image does not run as root, which could reach the metadata."""
    (user,) = re.findall(r"^USER (\d+):\d+$", (ROOT / "Dockerfile.loader").read_text(), re.MULTILINE)
    assert int(user) > 0
