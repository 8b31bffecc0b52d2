"""Run by every Python process of a stack under strikes before anything else: tasks get low limits.

Python imports this module by its name from the folders of PYTHONPATH (Python documentation, module `site`).
"""

import sys

if sys.orig_argv[1:4] == ["-P", "-m", "ratesflow.loader"]:
    from tests.faults.campaign.low_limits import shrink_process

    shrink_process()
