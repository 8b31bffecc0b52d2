"""A stand-in for git: a working tree at one commit, without changes unless the setting `changes` has some."""

import sys

from tests.rehearsal.stand_ins import note, setting

note(*sys.argv[1:])
if sys.argv[1] == "status":
    print(setting("changes") or "", end="")
else:
    print("0123456789abcdef0123456789abcdef01234567")
