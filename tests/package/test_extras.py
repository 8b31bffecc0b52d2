"""Each part of the product whose dependencies are not installed names the extra that installs them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ratesflow.extras import MissingExtraError, requires_extra
from tests.package.metadata import EXTRAS, ROOT

# Runs a module as `python -P -m` does; the first argument lists the modules that are not installed.
WITHOUT = """
import runpy, sys
sys.modules |= dict.fromkeys(sys.argv[1].split(","))
del sys.argv[:2]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
TASK = ["--bucket", "b", "--key", "k", "--batch-id", "x"]


def run_without(modules: str, program: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one of our modules in a process in which some modules cannot be imported."""
    command = [sys.executable, "-P", "-c", WITHOUT, modules, program, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("modules", "command", "exit_code", "sentence"),
    [
        ("click", ["ratesflow", "--help"], 1, "The command line needs click, {}cli"),
        ("boto3", ["ratesflow", "--env", "prod", "batches"], 1, "This command needs boto3, {}cli"),
        ("psutil", ["ratesflow", "up"], 1, "The embedded stack needs psutil, {}local"),
        ("psutil", ["ratesflow", "down"], 1, "The embedded stack needs psutil, {}local"),
        (
            "flask",
            ["ratesflow.workflow.console", "--port", "0", "--env", "prod"],
            1,
            "The console needs flask, {}local",
        ),
        ("pandas", ["ratesflow.loader.check_file", "prices.csv"], 64, "Validation needs pandas, {}loader"),
        ("psycopg2", ["ratesflow.loader", "load", *TASK], 70, "The loader needs psycopg2, {}loader"),
        ("granian", ["ratesflow.api"], 1, "The API needs granian, {}api"),
        ("falcon", ["ratesflow.api"], 1, "The API needs falcon, {}api"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_program_names_the_extra(
    modules: str, command: list[str], exit_code: int, sentence: str, tmp_path: Path
) -> None:
    """A program whose dependencies are not installed prints one sentence, without a traceback."""
    (tmp_path / "prices.csv").write_text("")
    done = run_without(modules, *command, folder=tmp_path)
    expected = "Error: " + sentence.format("which is not installed: pip install 'ratesflow[") + "]'\n"
    assert (done.stderr, done.stdout, done.returncode) == (expected, "", exit_code)


def test_validate_names_the_extra_of_its_child(tmp_path: Path) -> None:
    """`ratesflow validate` without the loader's dependencies prints the sentence of the process that it starts."""
    (tmp_path / "prices.csv").write_text("")
    (tmp_path / "pandas.py").write_text("raise ModuleNotFoundError(name='pandas')")
    command = [sys.executable, "-P", "-m", "ratesflow", "validate", "prices.csv"]
    environ = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    sentence = "Error: Validation needs pandas, which is not installed: pip install 'ratesflow[loader]'\n"
    assert (done.stderr, done.returncode) == (sentence, 64)


def test_the_stack_names_the_extra_of_its_children(tmp_path: Path) -> None:
    """The stack checks before it starts that what its child processes import is installed."""
    done = run_without("moto", "ratesflow.local", "--home", "home", folder=tmp_path)
    sentence = "ratesflow: The embedded stack needs moto, which is not installed: pip install 'ratesflow[local]'\n"
    assert (done.stderr, done.returncode) == (sentence, 69)
    assert not (tmp_path / "home").exists()


def test_a_task_logs_the_extra(tmp_path: Path) -> None:
    """A task without its dependencies logs one line and exits with 70, which is not retried."""
    done = run_without("obstore", "ratesflow.loader", "load", *TASK, folder=tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["message"] for line in lines if line["level"] == "error"] == [
        "The loader needs obstore, which is not installed: pip install 'ratesflow[loader]'"
    ]
    assert "traceback" not in done.stdout
    assert (done.stderr, done.returncode) == ("", 70)


@pytest.mark.parametrize("module", ["stepfunctions", "sagemaker", "pkg_resources"])
def test_a_definition_names_the_extra(module: str, tmp_path: Path) -> None:
    """Importing the definition without the SDK raises MissingExtraError, which is an ImportError."""
    code = (
        f"import sys; sys.modules['{module}'] = None\n"
        "try: import ratesflow.workflow.definition\n"
        "except ImportError as error: print(f'{type(error).__name__}: {error}')"
    )
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == (
        f"MissingExtraError: The definition of a workflow needs {module}, which is not installed: "
        "pip install 'ratesflow[sdk]'\n"
    )


def test_our_own_missing_module_is_no_missing_extra() -> None:
    """A module of the product that is missing is a defect, and stays a ModuleNotFoundError."""
    with pytest.raises(ModuleNotFoundError) as caught, requires_extra("cli", "This command"):
        import ratesflow.nothing  # noqa: F401
    assert not isinstance(caught.value, MissingExtraError)


def test_commands_without_an_sdk_work(tmp_path: Path) -> None:
    """`definition`, `graph` and `sample` need only the extra `cli`."""
    absent = "stepfunctions,sagemaker,pandas,numpy,pyarrow,obstore,psycopg2,sqlalchemy,alembic,granian,falcon,psutil"
    for command in (["definition"], ["graph"], ["sample", "-n", "3"]):
        done = run_without(absent, "ratesflow", *command, folder=tmp_path)
        assert (done.stderr, done.returncode) == ("", 0)
        assert done.stdout


def test_texts_name_only_extras_that_exist() -> None:
    """Each extra that a message or a document names is one of the package."""
    folders = ("ratesflow", "workflow", "loader", "api", "database", "local", "docs")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.suffix in (".py", ".md")]
    named = {
        extra
        for file in [*files, *ROOT.glob("*.md")]
        for names in re.findall(r"ratesflow\[([\w,]+)\]", file.read_text(encoding="utf-8"))
        for extra in names.split(",")
    }
    assert named <= set(EXTRAS)
