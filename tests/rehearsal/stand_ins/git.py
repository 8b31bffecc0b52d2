"""A tree without changes, unless it is told of some, at one commit."""

import sys

from tests.rehearsal.stand_ins import note, told

note(*sys.argv[1:])
if sys.argv[1] == "status":
    print(told("changes") or "", end="")
else:
    print("0123456789abcdef0123456789abcdef01234567")
