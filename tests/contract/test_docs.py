"""The pages for people: short, one question each, and without a way that leads nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import count
from pathlib import Path

import pytest

from gateway.usage.records import Attribution, TokenUsage, UsageRecord
from scripts.check.rooms import HOUSES, house
from scripts.operate.tenants_file import read
from scripts.project.template import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("**/*.md"))
# Scripts write these, from lists that no page can shorten; those of docs/reference say so in their first line.
GENERATED = {DOCS / "call/clients.md", DOCS / "call/compatibility.md"} | {
    page for page in PAGES if page.read_text().startswith("<!-- Generated ")
}
BY_HAND = [page for page in PAGES if page not in GENERATED]
LINKING = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "examples/README.md", *PAGES]
DECISIONS = sorted((DOCS / "decisions").glob("0*.md"))
# Pages name code as it is called from the project's folder, from the package's, or with the package's name.
PLACES = (ROOT, HOUSES["gateway"], HOUSES["gateway"].parent)
ELSEWHERE = re.compile(r"[a-z]+:")
NO_FIRST_WORDS = re.compile(r"(What|Who|Whoever)\b")
# The picture stands in the README alone.
REPEATED = [
    block
    for block in re.findall(r"^```.*?^```$", README.read_text(), re.M | re.S)
    if not block.startswith("```mermaid")
]


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """A page without its blocks and its code, in which nothing is a link or a heading."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S))


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """What a page leads to within this project: files, and the places in them."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not ELSEWHERE.match(target):
            path, _, anchor = target.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub and the site both make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    return {
        re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower())) for heading in re.findall(r"^#+ (.+)$", text, re.M)
    }


def lines(page: Path) -> int:
    return len(page.read_text().splitlines())


# ------------------------------------------------------------------------------------------------------ short, a question
def test_the_readme_is_one_page() -> None:
    assert lines(README) <= 200


@pytest.mark.parametrize("page", BY_HAND, ids=named)
def test_a_page_is_short(page: Path) -> None:
    assert lines(page) <= 250


@pytest.mark.parametrize("page", BY_HAND, ids=named)
def test_a_page_begins_with_its_title_and_a_line_that_answers_it(page: Path) -> None:
    title, empty, first, *_ = page.read_text().splitlines()
    assert title.startswith("# ")
    assert empty == ""
    assert re.match(r"[A-Z`*\[0-9]", first), first


@pytest.mark.parametrize("page", [page for page in BY_HAND if page not in DECISIONS], ids=named)
def test_the_title_of_a_page_is_the_question_that_it_answers(page: Path) -> None:
    assert page.read_text().splitlines()[0].endswith("?")


@pytest.mark.parametrize("page", [*LINKING[:4], *BY_HAND], ids=named)
def test_no_sentence_begins_with_a_clause_in_place_of_a_noun(page: Path) -> None:
    sentences = re.split(r"(?<=[.:!?])\s+|\n(?=[-|#*\d])|\n\n", prose(page))
    assert [said for said in sentences if NO_FIRST_WORDS.match(said.lstrip("-|#* 0123456789."))] == []


@pytest.mark.parametrize("page", DECISIONS, ids=named)
def test_a_decision_has_its_context_the_decision_its_effect_and_its_date(page: Path) -> None:
    parts = re.findall(r"^\*\*(\w+)\.\*\* .", page.read_text(), re.M)
    assert parts == ["Context", "Decision", "Effect", "Date"]
    assert re.search(r"^\*\*Date\.\*\* \d{4}-\d\d-\d\d$", page.read_text(), re.M)


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [int(page.name[:4]) for page in DECISIONS]
    assert numbers == [number for number, _ in zip(count(1), numbers, strict=False)]
    for number, page in zip(numbers, DECISIONS, strict=True):
        assert page.read_text().startswith(f"# {number}. ")


# ------------------------------------------------------------------------------------------------------------- the links
@pytest.mark.parametrize("page", LINKING, ids=named)
def test_no_link_leads_nowhere(page: Path) -> None:
    dead = [
        f"{target.relative_to(ROOT)}#{anchor}"
        for target, anchor in links(page)
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]
    assert dead == []


@pytest.mark.parametrize("page", BY_HAND, ids=named)
def test_a_page_links_to_pages_alone(page: Path) -> None:
    """The site has no other files, so it names them."""
    assert [target for target, _ in links(page) if not target.is_relative_to(DOCS)] == []


def test_every_page_is_reached_from_the_index() -> None:
    reached, ahead = set[Path](), [DOCS / "index.md"]
    while ahead:
        page = ahead.pop()
        if page not in reached and page.exists():
            reached.add(page)
            ahead += [target for target, _ in links(page) if target.suffix == ".md"]
    assert [named(page) for page in PAGES if page not in reached] == []


# --------------------------------------------------------------------------------------------- what stands in two places
@pytest.mark.parametrize("block", REPEATED, ids=lambda block: block.splitlines()[1][:30])
def test_a_block_of_the_readme_stands_in_a_page_as_well_word_for_word(block: str) -> None:
    assert [page for page in PAGES if block in page.read_text()]


def test_the_readmes_table_of_sdks_is_that_of_its_page() -> None:
    (table,) = re.findall(r"^\| SDK \|.*?(?=\n\n)", README.read_text(), re.M | re.S)
    assert table in (DOCS / "call/sdks.md").read_text()


def test_the_bound_on_overshoot_is_the_same_in_both_places() -> None:
    bound = "0 while the model keeps to `max_tokens`, however a call ends; otherwise the amount by which its calls cost more than their holds."
    for page in (README, DOCS / "run/budgets-and-limits.md"):
        assert bound in " ".join(page.read_text().replace("**", "").split())


# --------------------------------------------------------------------------------------------------- what the code has
def test_the_page_of_the_ledger_row_has_all_that_a_row_keeps() -> None:
    text = (DOCS / "reference/ledger-row.md").read_text()
    names = {field.name for field in (*fields(UsageRecord), *fields(TokenUsage), *fields(Attribution))}
    names -= {"usage", "source", "attribution"}
    assert [name for name in sorted(names | {"usage_source"}) if f"`{name}`" not in text] == []


def test_every_alarm_of_the_template_has_a_row_of_its_page() -> None:
    template = (ROOT / "template.yaml").read_text()
    alarms = set(re.findall(r"^  (\w+):\n    Type: AWS::CloudWatch::Alarm$", template, re.M))
    rows = re.findall(r"^\| `(\w+Alarm)` \|", (DOCS / "run/alarms.md").read_text(), re.M)
    assert len(alarms) > 10
    assert sorted(rows) == sorted(alarms)


def test_the_map_has_every_package_and_what_it_imports() -> None:
    page = (DOCS / "develop/architecture.md").read_text()
    drawn = {
        room: ", ".join(sorted(below)) or "none" for room, below in house("gateway", HOUSES["gateway"]).arrows.items()
    }
    assert dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", page, re.M)) == drawn


@pytest.mark.parametrize("page", ["tenants-and-keys", "budgets-and-limits"])
def test_a_page_shows_tenants_as_the_command_reads_them(tmp_path: Path, page: str) -> None:
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", (DOCS / f"run/{page}.md").read_text(), re.M | re.S)
    (tmp_path / "tenants.yaml").write_text(shown)
    (wanted,) = read(tmp_path / "tenants.yaml")
    assert wanted.tenant_id == "my-team"


@pytest.mark.parametrize("page", BY_HAND, ids=named)
def test_a_page_names_files_that_are_there(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    said = re.findall(r"`((?:gateway/)?[a-z0-9_]+(?:/[a-z0-9_.-]+)*/[a-z0-9_.-]+\.(?:py|csv|yaml|json))`", text)
    assert [file for file in said if not any((place / file).exists() for place in PLACES)] == []


def test_the_architecture_names_folders_that_are_there() -> None:
    page = (DOCS / "develop/architecture.md").read_text()
    said = set(re.findall(r"`([a-z0-9_]+(?:/[a-z0-9_]+)*/[a-z0-9_]*)`", page))
    assert len(said) > 10
    places = (*PLACES, ROOT / "functions")
    assert [path for path in sorted(said) if not any((place / path).is_dir() for place in places)] == []


def test_the_walk_of_a_cent_has_each_function_of_its_state_machines() -> None:
    _, _, walk = (DOCS / "develop/architecture.md").read_text().partition("## The walk of a cent")
    rows = re.findall(r"^\| \d+ \| ([^|]+) \|", walk.partition("\n## ")[0], re.M)
    named = [name.rpartition("/")[2] for row in rows for name in re.findall(r"`([a-z_/]+)`", row)]
    there = [path.parent.name for path in (ROOT / "functions").glob("*/*/app.py")]
    assert sorted(named) == sorted([*there, "close_month"])
