"""Fetches nothing."""

import sys

from tests.rehearsal.stand_ins import note

note(*sys.argv[1:])
