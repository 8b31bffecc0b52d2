"""A stand-in for jq with the one filter of docs/deploy.md: the newest revision, with another image."""

import json
import sys

FIELDS = ("jobDefinitionName", "type", "parameters", "containerProperties", "retryStrategy", "timeout",
          "platformCapabilities", "propagateTags", "tags")  # fmt: skip

newest = max(json.load(sys.stdin)["jobDefinitions"], key=lambda each: each["revision"])
newest["containerProperties"]["image"] = sys.argv[3]
print(json.dumps({name: newest[name] for name in FIELDS if newest.get(name) is not None}))
