"""A stand-in for curl, which downloads nothing."""

import sys

from tests.rehearsal.stand_ins import note

note(*sys.argv[1:])
