"""`sam build` as a customer runs it, in a fresh clone: its output, and that Lambda has nothing left to compile.

This machine is not Lambda's: the test imports the same functions and package, and the same layers with wheels for this
machine's CPU, with Lambda's Python version.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bundle import recipe
from scripts.deploy import artifact_sizes
from scripts.deploy.sam_local import overlay as sam_local_overlay
from scripts.project import sam
from scripts.project.template import ROOT, functions, load

NOT_CLONED = shutil.ignore_patterns(
    ".git", ".venv*", ".aws-sam", ".dev", "build", "__pycache__", ".*_cache", ".hypothesis"
)
SAM = Path(sys.executable).parent / "sam"
NAMES = sorted(functions(load(ROOT / "template.yaml")))

# Imports a function as Lambda does, and says which sources were compiled for it.
IMPORTS = """
import json, sys
compiled = []
def heard(event, arguments):
    if event == "compile" and str(arguments[1]).endswith(".py"):
        compiled.append(str(arguments[1]))
sys.path[:0] = json.loads(sys.argv[1])
sys.addaudithook(heard)
import app
print(json.dumps({"compiled": compiled, "imported": len([m for m in sys.modules.values() if getattr(m, "__cached__", None)])}))
"""
# What each source's bytecode says of itself.
READS = """
import _imp, importlib.util, json, marshal, pathlib, sys
said = {}
for source in pathlib.Path(sys.argv[1]).rglob("*.py"):
    cached = pathlib.Path(importlib.util.cache_from_source(source))
    if not cached.exists():
        said[str(source)] = None
        continue
    content = cached.read_bytes()
    hashed = _imp.source_hash(importlib.util._RAW_MAGIC_NUMBER, source.read_bytes())
    said[str(source)] = {
        "of_this_python": content[:4] == importlib.util.MAGIC_NUMBER,
        "flags": int.from_bytes(content[4:8], "little"),
        "of_this_source": content[8:16] == hashed,
        "path": marshal.loads(content[16:]).co_filename,
    }
print(json.dumps(said))
"""
UNCHECKED_HASH = 0b01  # peps.python.org/pep-0552: bit 0 a hash, bit 1 that it is checked


def python() -> Path:
    if (found := sam.find_python()) is None:
        warnings.warn(f"THE BUILD IS NOT TESTED. {sam.NONE_FOUND}", stacklevel=1)
        pytest.skip(f"the build is not tested: {sam.NONE_FOUND}")
    return found


def run(folder: Path, *arguments: str, path: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """`sam`, as a shell in this folder would run it."""
    with sam.environment(python(), arguments[0]) as environment:
        changed = {name: value for name, value in environment.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
        changed["PATH"] = path or changed["PATH"]
        return subprocess.run(
            [SAM, *arguments], cwd=folder, env=changed | variables, capture_output=True, text=True, check=False
        )


def asked(code: str, *arguments: str, **variables: str) -> Any:
    environment = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run(
        [python(), "-P", "-c", code, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def hashes(folder: Path) -> dict[str, str]:
    """Every file's hash, from which SAM CLI names the archive of a function or a layer."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "template.yaml")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


@pytest.fixture(scope="module")
def unbuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh") / "clone"
    shutil.copytree(ROOT, folder, ignore=NOT_CLONED, symlinks=True)
    return folder


@pytest.fixture(scope="module")
def clone(unbuilt: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh clone after `sam build`."""
    folder = tmp_path_factory.mktemp("built") / "clone"
    shutil.copytree(unbuilt, folder)
    done = run(folder, "build")
    assert done.returncode == 0, done.stderr
    yield folder
    shutil.rmtree(folder)  # half a gigabyte


@pytest.fixture(scope="module")
def local(clone: Path) -> dict[str, Any]:
    """The template that `sam local` runs in the clone."""
    return load(clone / "local/template.yaml")


# ------------------------------------------------------------------------------------------------------------ bytecode
@pytest.mark.parametrize("part", ["build", "local"])
def test_every_source_has_the_bytecode_of_lambdas_python_that_is_taken_unchecked(clone: Path, part: str) -> None:
    said = asked(READS, str(clone / ".aws-sam" / part))
    assert len(said) > 500
    for source, bytecode in said.items():
        kind, _, rest = source.partition(f"/.aws-sam/{part}/")[2].partition("/")
        mounted = "/opt" if kind.endswith("Layer") else "/var/task"
        told = {"of_this_python": True, "flags": UNCHECKED_HASH, "of_this_source": True, "path": f"{mounted}/{rest}"}
        assert bytecode == told, source


@pytest.mark.parametrize("name", NAMES)
def test_a_function_is_imported_and_nothing_of_it_is_compiled(clone: Path, local: Mapping[str, Any], name: str) -> None:
    folders, given = sam_local_overlay.mounted(dict(local), name, clone / "local")
    before = {folder: sorted(folder.rglob("*")) for folder in folders}
    said = asked(IMPORTS, json.dumps([*map(str, folders)]), **given)
    assert said["compiled"] == []
    assert said["imported"] > 50
    assert {folder: sorted(folder.rglob("*")) for folder in folders} == before


def test_the_function_that_closes_months_makes_pages_and_no_other_ships_their_library(
    clone: Path, local: Mapping[str, Any]
) -> None:
    folders, given = sam_local_overlay.mounted(dict(local), "CloseMonthFunction", clone / "local")
    page = (
        "import json, sys; sys.path[:0] = json.loads(sys.argv[1])\n"
        "from datetime import UTC, datetime; from gateway.statements import html, statement\n"
        "made = html.to_html(statement.Statement('acme', '2026-10', datetime(2026, 11, 4, tzinfo=UTC), ()), '0' * 64)\n"
        "print(json.dumps(made.decode()))"
    )
    assert "<h1>acme</h1>" in asked(page, json.dumps([*map(str, folders)]), **given)
    ships = {package.parent.name for package in (clone / ".aws-sam/build").rglob("jinja2")}
    assert ships == {"CloseMonthFunction"}


def test_a_source_without_bytecode_would_be_noticed(clone: Path, tmp_path: Path) -> None:
    shutil.copytree(clone / ".aws-sam/build/CloseDayFunction", tmp_path / "function")
    shutil.rmtree(tmp_path / "function/__pycache__")
    (tmp_path / "function/app.py").write_text("import json")
    said = asked(IMPORTS, json.dumps([str(tmp_path / "function")]))
    assert said["compiled"] == [str(tmp_path / "function/app.py")]


# ------------------------------------------------------------------------------------------------------ what is shipped
def test_what_is_shipped_is_the_sources_their_bytecode_and_wheels_within_lambdas_limit(clone: Path) -> None:
    build = clone / ".aws-sam/build"
    assert {path.name for path in (build / "GatewayLayer/python").iterdir()} == {"gateway"}
    for name, function in functions(load(clone / "template.yaml")).items():
        own = {path.name for path in (clone / function.code).iterdir()} - {recipe.REQUIREMENTS}
        assert own <= {path.name for path in (build / name).iterdir()}
        assert os.access(build / name / function.properties["Handler"], os.X_OK) or not function.serves_http
    layers, weighed = artifact_sizes.measure(build)
    assert all(sum(parts.values()) < artifact_sizes.LIMIT for parts in weighed.values())
    assert min(layers.values()) > 1_000_000


def test_wheels_are_of_lambdas_cpu_in_what_is_deployed_and_of_this_one_in_what_runs_here(clone: Path) -> None:
    cpus = {"arm64": "aarch64", "x86_64": "x86_64"}
    for part, architecture in (("build", recipe.ARCHITECTURE), ("local", recipe.this_machine())):
        for layer in ("DependenciesLayer", "ParquetLayer"):
            libraries = [path.name for path in (clone / ".aws-sam" / part / layer).rglob("*.cpython-313-*.so")]
            assert libraries
            assert all(f"-{cpus[architecture]}-linux-gnu" in name for name in libraries)
    assert load(clone / recipe.MACHINE.relative_to(ROOT)) == {"Machine": recipe.this_machine()}


def test_all_that_sam_local_names_was_built(clone: Path, local: Mapping[str, Any]) -> None:
    for resource in local["Resources"].values():
        for key in ("CodeUri", "ContentUri"):
            if key in resource["Properties"]:
                assert any((clone / "local" / resource["Properties"][key]).iterdir())


# ------------------------------------------------------------------------------------------------------------ once more
def test_the_same_sources_give_the_same_bytes_so_that_a_deployment_replaces_nothing(
    clone: Path, tmp_path: Path
) -> None:
    told = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", recipe.VARIABLE: recipe.ARCHITECTURE}
    done = run(clone, "build", "--no-cached", "--build-dir", str(tmp_path / "again"), **told)
    assert done.returncode == 0, done.stderr
    assert hashes(tmp_path / "again") == hashes(clone / ".aws-sam/build")


def test_a_build_from_the_cache_has_what_changed_and_takes_the_rest_as_it_was(clone: Path) -> None:
    build = clone / ".aws-sam/build"
    before = {name: hashes(build / name) for name in ("GatewayLayer", "ListModelsFunction", "DependenciesLayer")}
    changed = {
        "GatewayLayer": "layers/gateway/gateway/pricing/model_names.py",
        "ListModelsFunction": "functions/list_models/app.py",
    }
    kept = {path: (clone / path).read_text() for path in changed.values()}
    for path, text in kept.items():
        (clone / path).write_text(text + "\nCHANGED = True\n")
    try:
        done = run(clone, "build")
        assert done.returncode == 0, done.stderr
        assert (
            "Valid cache found, copying previously built resources for following layers (DependenciesLayer)"
            in done.stderr
        )
        after = {name: hashes(build / name) for name in before}
    finally:
        for path, text in kept.items():
            (clone / path).write_text(text)
    assert after["DependenciesLayer"] == before["DependenciesLayer"]
    for name, path in changed.items():
        different = {file for file, value in after[name].items() if before[name].get(file) != value}
        source = Path(path)
        assert {Path(file).name for file in different} == {source.name, f"{source.stem}.cpython-313.pyc"}


# -------------------------------------------------------------------------------------------------------- what is missing
def test_without_python_3_13_the_build_says_what_to_install(unbuilt: Path, tmp_path: Path) -> None:
    for tool in ("make", "sh"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    done = run(unbuilt, "build", path=str(tmp_path))
    assert done.returncode != 0
    assert "Building needs Python 3.13 with pip" in done.stderr
    assert "PYTHON313=/where/it/is/python3.13 sam build" in done.stderr


def test_a_python_of_another_version_is_refused(unbuilt: Path) -> None:
    other = sys.executable if sys.version_info[:2] != recipe.LAMBDA else "/bin/false"
    done = run(unbuilt, "build", PYTHON313=other)
    assert done.returncode != 0
    assert ("is no CPython 3.13" in done.stderr) or (other == "/bin/false" and "needs Python 3.13" in done.stderr)


def test_sam_local_before_a_build_names_what_the_build_writes(unbuilt: Path) -> None:
    for command in (["start-api"], ["invoke", "ListModelsFunction"], ["start-lambda"]):
        done = run(unbuilt, "local", *command)
        assert done.returncode != 0
        assert "written-by-sam-build.yaml was not found" in done.stderr
