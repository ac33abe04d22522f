"""docs/ as a site in build/docs, with search and without anything from elsewhere: `python -m scripts.generate.site`.

mkdocs runs in an environment of its own, and fails at a dead link. Diagrams are drawn in the browser by Mermaid, which
npm brings, as it brings what lets the search work without a server. Where there is no Node, diagrams stay text.
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
NO_NODE = "There is no Node 20.19, or 22.12 or newer, here: the site shows diagrams as text, and only a web server lets it search."
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
    """What the pages would load from another place, one sentence each."""
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
        print(f"{fault}: scripts/generate/site/hooks.py has to bring it along", file=sys.stderr)
    print(f"The site is in {SITE}: open index.html.")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
