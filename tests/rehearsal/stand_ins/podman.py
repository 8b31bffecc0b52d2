"""A stand-in for podman, which builds nothing and pushes a generated manifest to the embedded registry."""

import hashlib
import json
import sys

from tests.rehearsal.stand_ins import client, note

note(*sys.argv[1:])
if sys.argv[1] == "login":
    sys.exit(0 if sys.stdin.read().strip() else 1)
if sys.argv[1] == "push":
    repository, _, tag = sys.argv[2].partition("/")[2].rpartition(":")
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": {"digest": tag}, "layers": []})
    digest = f"sha256:{hashlib.sha256(sys.argv[2].encode()).hexdigest()}"
    client("ecr").put_image(repositoryName=repository, imageManifest=manifest, imageTag=tag, imageDigest=digest)
