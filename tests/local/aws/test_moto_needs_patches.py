"""Detects patches of moto that are no longer needed, because unpatched moto behaves like AWS."""

import json
import subprocess
import sys

UNPATCHED = """
import json, boto3
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.batch.models import Job
from moto.core.responses import BaseResponse
from moto.ec2.models import instance_types
found = {"lean_import.py": len(instance_types.INSTANCE_TYPE_OFFERINGS["region"]) > 20}
with mock_aws():
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    s3, sfn = boto3.client("s3", **keys), boto3.client("stepfunctions", **keys)
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="a%41", Body=b"")
    listed = s3.list_object_versions(Bucket="bucket", EncodingType="url")
    found["s3/object_listing.py"] = listed["Versions"][0]["Key"] == "a%41"
    machine = {"stateMachineArn": "arn:aws:states:us-east-1:123456789012:stateMachine:none"}
    for call in (sfn.list_state_machine_versions, sfn.publish_state_machine_version):
        try:
            call(**machine)
        except ClientError as error:
            found["stepfunctions/versions.py"] = error.response["Error"]["Code"] != "StateMachineDoesNotExist"
        except Exception:
            found["stepfunctions/versions.py"] = True
found["batch/patch.py"] = "DockerModel" in {kind.__name__ for kind in Job.__mro__}
found["request_ids.py"] = "mine" not in BaseResponse._enrich_response({}, "<RequestId>mine</RequestId>")[1]
print(json.dumps(found))
"""


def test_unpatched_moto_still_differs_from_aws() -> None:
    """Unpatched moto has each difference from AWS; a failure names the patch to delete."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", UNPATCHED], capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 5
    for patch, is_needed in found.items():
        assert is_needed, f"moto behaves like AWS here: delete local/aws/{patch}"
