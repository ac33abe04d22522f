"""docs/ as a site: mkdocs.yml needs no list of pages, and loads nothing from elsewhere. `make docs` builds it strictly."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scripts.generate.site.__main__ import loaded_from_elsewhere
from scripts.project.template import ROOT


class Loader(yaml.SafeLoader):
    """Reads the names of Python's functions that mkdocs.yml gives as their text."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda loader, suffix, node: suffix)
CONFIG = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)


def test_the_pages_are_found_and_none_is_listed_by_hand() -> None:
    assert "nav" not in CONFIG
    assert (ROOT / CONFIG["docs_dir"]).is_dir()
    assert all((ROOT / hook).is_file() for hook in CONFIG["hooks"])


def test_every_kind_of_dead_link_is_a_warning_which_strict_makes_a_failure() -> None:
    kinds = [kind for group in CONFIG["validation"].values() for kind in group.values()]
    assert len(kinds) == 7
    assert set(kinds) == {"warn"}


def test_the_site_works_without_a_network_and_without_a_server() -> None:
    assert CONFIG["theme"]["font"] is False
    assert "offline" in CONFIG["plugins"]
    assert CONFIG["use_directory_urls"] is False


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://cdn.example/a.js"></script>',
        "<script async src=https://cdn.example/a.js></script>",
        '<link rel="stylesheet" href="//fonts.example/a.css">',
        '<img alt="" src="https://pictures.example/a.png">',
    ],
)
def test_what_a_page_would_load_from_elsewhere_is_named(tmp_path: Path, tag: str) -> None:
    page = tmp_path / "a/b.html"
    page.parent.mkdir()
    page.write_text('<script src="assets/a.js"></script><a href="https://example.com">a link is no load</a>')
    assert loaded_from_elsewhere(tmp_path) == []
    page.write_text(tag)
    (fault,) = loaded_from_elsewhere(tmp_path)
    assert fault.startswith("a/b.html loads ")
