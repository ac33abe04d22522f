"""docs/ as a site in build/docs, with search and without external resources: `python -m scripts.generate.site`.

mkdocs runs in its own environment, and fails at a dead link. Mermaid, from npm, draws diagrams in the browser. npm also
provides the script for a search without a server. Without Node, diagrams stay text.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from scripts.project.environments import NotSetUp, has_node, set_up_node, set_up_quickly
from scripts.project.template import ROOT

HOME = Path(__file__).parent
ENVIRONMENT = ROOT / ".venv-site"
SITE = ROOT / "build/docs"
NO_NODE = (
    "Node 20.19, or 22.12 or newer, is missing: the site shows diagrams as text, and its search needs a web server."
)
OUTSIDE = re.compile(r'<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)="?((?:https?:)?//[^"\s>]+)')


def build() -> int:
    """Raises NotSetUp."""
    set_up_quickly(ENVIRONMENT, HOME / "requirements.lock")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    if has_node():
        programs = set_up_node(HOME, ROOT / "build/site")
        environment["SITE_MODULES"] = str(programs.parent)
    else:
        print(NO_NODE)
    command = [str(ENVIRONMENT / "bin/python"), "-m", "mkdocs", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
    return done.returncode


def loaded_from_elsewhere(site: Path) -> list[str]:
    """External resources that the pages would load, one sentence each."""
    return [
        f"{page.relative_to(site)} loads {address}"
        for page in sorted(site.rglob("*.html"))
        for address in OUTSIDE.findall(page.read_text(encoding="utf-8"))
    ]


def main() -> int:
    try:
        failed = build()
    except NotSetUp as broken:
        print(broken, file=sys.stderr)
        return 1
    if failed:
        return failed
    for fault in (faults := loaded_from_elsewhere(SITE)):
        print(f"{fault}: add it to scripts/generate/site/hooks.py", file=sys.stderr)
    print(f"The site is in {SITE}: open index.html.")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
