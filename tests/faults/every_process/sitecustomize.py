"""Lowers the limits of tasks in a stack under fault injection; every Python process of the stack runs this first.

Python imports this module by its name from the directories of PYTHONPATH (Python documentation, module `site`).
"""

import sys

if sys.orig_argv[1:4] == ["-P", "-m", "ratesflow.loader"]:
    from tests.faults.campaign.low_limits import shrink_process

    shrink_process()
