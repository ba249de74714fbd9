#!/usr/bin/env python3
"""Checks what is policy and not code: dependencies against deny.toml, and the layout of the repository.

    .ci/policy.py dependencies     licences, bans and sources, as `cargo deny check licenses bans sources` does
    .ci/policy.py layout           what must be there, lints of every crate, length of files

Needs Python 3.11 and nothing else.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Design §5, and what a stranger looks for.
EXPECTED = """
    Cargo.toml Cargo.lock README.md ARCHITECTURE.md SECURITY.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE deny.toml
    rustfmt.toml clippy.toml .ci/run docs/adr protocol/Cargo.toml protocol/tests/golden link/Cargo.toml
    broker/Cargo.toml broker/core/Cargo.toml agent-client/Cargo.toml server-publisher/Cargo.toml tests/Cargo.toml
""".split()
LINES_MAX = 500
# Files that are longer for a reason, with that reason.
LONGER = {}


def dependencies():
    policy = tomllib.loads((ROOT / "deny.toml").read_text())
    allowed = set(policy["licenses"]["allow"])
    banned = {ban["crate"]: ban["reason"] for ban in policy["bans"]["deny"]}
    assert "allow-registry" not in policy["sources"], "only cargo's default registry is allowed"
    told = subprocess.run(
        ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE,
    )
    metadata = json.loads(told.stdout)
    resolved = {node["id"] for node in metadata["resolve"]["nodes"]}
    ours = set(metadata["workspace_members"])
    packages = [package for package in metadata["packages"] if package["id"] in resolved]
    assert len(packages) > len(ours) > 0, "cargo metadata tells no packages"
    # serde is named in Cargo.toml by its version alone, and so comes from cargo's default registry.
    default_registry = next(package["source"] for package in packages if package["name"] == "serde")
    for package in packages:
        name = f"{package['name']} {package['version']}"
        licence = package["license"]
        if not licence:
            yield f"{name}: no licence is named"
        elif not satisfied(licence, allowed):
            yield f"{name}: licence {licence} is not allowed"
        if package["name"] in banned:
            yield f"{name}: banned: {banned[package['name']]}"
        if package["id"] not in ours and package["source"] != default_registry:
            yield f"{name}: comes from {package['source'] or 'a path outside the workspace'}"
        for dependency in package["dependencies"] if package["id"] in ours else []:
            if dependency["req"] == "*" and not dependency.get("path"):
                yield f"{name}: any version of {dependency['name']} would do"


def satisfied(expression, allowed):
    """Evaluates an SPDX licence expression; `/` is an old way to write OR."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def alternatives():
        good = conjunction()
        while words and words[0] == "OR":
            words.pop(0)
            good = conjunction() or good
        return good

    def conjunction():
        good = licence()
        while words and words[0] == "AND":
            words.pop(0)
            good = licence() and good
        return good

    def licence():
        word = words.pop(0)
        if word == "(":
            good = alternatives()
            assert words.pop(0) == ")", expression
            return good
        if words and words[0] == "WITH":
            words.pop(0)
            word = f"{word} WITH {words.pop(0)}"
        return word in allowed

    good = alternatives()
    assert not words, f"{expression}: cannot be read"
    return good


def layout():
    for path in EXPECTED:
        if not (ROOT / path).exists():
            yield f"{path} is missing"
    files = sorted(walk())
    manifests = [path for path in files if Path(path).name == "Cargo.toml" and path != "Cargo.toml"]
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    for path in manifests:
        if str(Path(path).parent) not in members:
            continue
        manifest = tomllib.loads((ROOT / path).read_text())
        if manifest.get("lints") != {"workspace": True}:
            yield f"{path}: no `[lints] workspace = true`"
    for path in files:
        if path.endswith(".rs"):
            lines = code_lines(path)
            if lines > LINES_MAX and path not in LONGER:
                yield f"{path}: {lines} lines without its tests; {LINES_MAX} at most, or a reason in .ci/policy.py"
            if path in LONGER and lines <= LINES_MAX:
                yield f"{path}: is short enough now; its reason in .ci/policy.py can go"


def walk():
    """Lists the files of the repository by their paths from its root, what is built or hidden excepted."""
    for directory, inner, names in os.walk(ROOT):
        inner[:] = [name for name in inner if name != "target" and not name.startswith(".")]
        for name in names:
            yield str((Path(directory) / name).relative_to(ROOT))


def code_lines(path):
    """Counts the lines of a source file without its tests: those in files of their own, or at its end."""
    parts = Path(path).parts
    if "tests" in parts[1:] or parts[-1] == "tests.rs":
        return 0
    lines = (ROOT / path).read_text().splitlines()
    for at, line in enumerate(lines):
        if line == "#[cfg(test)]" and at + 1 < len(lines) and lines[at + 1].startswith("mod tests {"):
            return at
    return len(lines)


def main():
    checks = {"dependencies": dependencies, "layout": layout}
    if len(sys.argv) != 2 or sys.argv[1] not in checks:
        sys.exit(__doc__)
    complaints = list(checks[sys.argv[1]]())
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
