"""Hooks of mkdocs beside mkdocs.yml: the order of the sections, links into the repository, and diagrams.

mkdocs runs this in the site's own environment, so it imports nothing of the project.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File  # type: ignore[import-not-found, unused-ignore]

HOME = Path(__file__).parent
ROOT = HOME.parents[2]
SECTIONS = {
    "call": "Call it",
    "run": "Run it",
    "books": "Do the books",
    "reference": "Look it up",
    "develop": "Change it",
    "decisions": "Decisions",
}
# The search ranks the pages that explain a name first.
EXPLAIN = ("reference/errors.md", "reference/parameters.md", "reference/glossary.md")
LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\(([^)\s#]+)(#[^)\s]*)?\)")
CSS = "site.css"
# Third-party scripts by their place in the site, with their place in npm's folder. Without Node the site has none.
MERMAID, SHIM = "assets/javascripts/mermaid.js", "assets/javascripts/iframe-worker.js"
SCRIPTS = {MERMAID: "@mermaid-js/tiny/dist/mermaid.tiny.js", SHIM: "iframe-worker/shim/index.js"}
MODULES = os.environ.get("SITE_MODULES")
# With this the theme makes the search work without a server; it would load the script from an external site.
THEIR_SHIM = '<script src="https://unpkg.com/iframe-worker/shim"></script>'


def on_files(files: Any, config: Any) -> Any:
    """Adds the style, and the scripts from npm."""
    files.append(File.generated(config, CSS, content=(HOME / CSS).read_text(encoding="utf-8")))
    for place, source in SCRIPTS.items() if MODULES else ():
        files.append(File.generated(config, place, abs_src_path=f"{MODULES}/{source}"))
    return files


def on_nav(nav: Any, config: Any, files: Any) -> Any:
    """Sections in the order of their readers; pages without a folder first."""
    order = list(SECTIONS.values())
    for item in nav.items:
        if item.is_section:
            item.title = SECTIONS.get(item.title.lower(), item.title)
    for page in nav.pages:
        # Readers look up a reference page by its subject, other pages by their question, which is the heading.
        if page.file.src_uri.startswith("reference/"):
            page.title = (
                Path(page.file.src_uri).stem.replace("-", " ").capitalize().replace("api", "API").replace("Api", "API")
            )
    nav.items.sort(key=lambda item: order.index(item.title) + 1 if item.title in order else 0 if item.is_page else 99)
    return nav


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Replaces a link to a file of the repository by its name, because the site has only the pages of docs/."""
    folder = Path(page.file.abs_src_path).parent
    if page.file.src_uri in EXPLAIN:
        page.meta["search"] = {"boost": 4}

    def plain(found: re.Match[str]) -> str:
        if "://" in found[2] or found[2].startswith("mailto:"):
            return found[0]
        target = (folder / found[2]).resolve()
        elsewhere = ROOT in target.parents and ROOT / "docs" not in target.parents
        return found[1] if elsewhere and target.exists() else found[0]

    return LINK.sub(plain, markdown)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Loads Mermaid before the theme fetches it externally; without it a diagram stays text."""
    if not MODULES:
        return output.replace('class="mermaid"', 'class="highlight"').replace(THEIR_SHIM, "")
    up = "../" * page.url.count("/")
    output = output.replace(THEIR_SHIM, _script(up + SHIM))
    return output.replace("</head>", f"{_script(up + MERMAID)}</head>", 1) if 'class="mermaid"' in output else output


def on_post_template(output_content: str, template_name: str, config: Any) -> str:
    return output_content.replace(THEIR_SHIM, "")


def _script(source: str) -> str:
    return f'<script src="{source}"></script>'
