"""The contents of the API image, from its lock file and its Dockerfile."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.api.service import ROOT

LOCK = (ROOT / "requirements/api.txt").read_text()
DOCKERFILE = (ROOT / "Dockerfile.api").read_text()
FORBIDDEN = {"boto3", "botocore", "pandas", "numpy", "stepfunctions", "sagemaker", "starlette", "moto", "alembic"}


def test_lock_is_hashed_and_small() -> None:
    """Every package is pinned with hashes, and packages that the service does not need are absent."""
    pins = re.findall(r"^([a-z0-9._-]+)==\S+ \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", LOCK, re.M)
    assert pins == re.findall(r"^([a-z0-9._-]+)==", LOCK, re.M)
    assert {"falcon", "granian", "orjson", "psycopg2-binary"} <= set(pins)
    assert not FORBIDDEN & set(pins)


def test_installs_only_the_lock() -> None:
    """The image installs only the lock file, with hashes, and copies only two of our packages."""
    installs = re.findall(r"pip install[^&]+", DOCKERFILE)
    assert len(installs) == 1
    assert "--require-hashes" in installs[0]
    assert "requirements/api.txt" in DOCKERFILE
    copied = {source.partition("/")[0] for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M)
              for source in line.split()}  # fmt: skip
    assert copied == {"requirements", "ratesflow", "database", "api"}


def test_image_has_all_imported_modules(tmp_path: Path) -> None:
    """Each module of the service can be imported from only the files in the image."""
    for line in re.findall(r"^COPY (?!--from)(.+ /app/?\S*)$", DOCKERFILE, re.M):
        *sources, target = line.split()
        for source in sources:
            into = tmp_path / target.strip("/")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, into, dirs_exist_ok=True)
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, into)
    app = tmp_path / "app"
    found = sorted((app / "ratesflow/api").rglob("*.py"))
    names = [".".join(path.relative_to(app).with_suffix("").parts) for path in found]
    # Without the finder of an editable install, which would find our other packages in the checkout.
    code = "import sys; sys.meta_path = [each for each in sys.meta_path if 'ditable' not in str(each)]; "
    code += f"sys.path.insert(0, {str(app)!r}); import {', '.join(names)}"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_image_runs_as_an_unprivileged_user() -> None:
    """The service does not run as root, has a health check without other programs, and receives signals itself."""
    final = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER [1-9]\d+", final, re.M)
    assert "curl" not in final
    assert re.search(r'HEALTHCHECK .*CMD \["python", "-P", "-m", "ratesflow.api.healthcheck"\]', final)
    assert 'ENTRYPOINT ["python", "-P", "-m", "ratesflow.api"]' in final
