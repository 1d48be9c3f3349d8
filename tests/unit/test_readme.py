"""What the documents say, held against the code: settings, routes, statuses, links, languages.

Does not run their commands: `tests/acceptance/test_readme_commands.py` does.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from pydantic import SecretStr

from app import __version__
from app.api.application import create_application
from app.domain import transitions
from app.domain.status import Status
from app.handlers import PermanentError, TaskContext, registry
from app.handlers.registry import TaskType
from app.local import environment
from app.settings import Settings
from tests import documents
from tests.documents import ENGLISH, RUSSIAN
from tests.servers import ROOT

READMES = [
    pytest.param(ENGLISH, id="English"),
    pytest.param(RUSSIAN, id="Russian"),
]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NO_DEFAULT = {ENGLISH: "none", RUSSIAN: "нет"}
EMPTY = {ENGLISH: "empty", RUSSIAN: "пусто"}


# -- Settings -----------------------------------------------------------------------------------


def default_of(name: str, document: Path) -> str:
    """Return a setting's default as the table shows it."""
    field = Settings.model_fields[name.lower()]
    if field.default_factory is not None:
        assert name == "WORKER_CONCURRENCY"
        return {ENGLISH: "the cores, at least 2", RUSSIAN: "число ядер, не меньше 2"}[document]
    match field.default:
        case bool(value):
            shown = str(value).lower()
        case float(value):
            shown = f"{value:g}"
        case SecretStr():
            shown = field.default.get_secret_value()
        case value:
            shown = str(value)
    return f"`{shown}`" if shown else EMPTY[document]


def unit_of(name: str, document: Path) -> str:
    """Return the unit that a setting's name ends with, as the table shows it."""
    units = {
        "_SECONDS": ("s", "с"),
        "_DAYS": ("days", "суток"),
        "_BYTES": ("bytes", "байт"),
        "_CHARACTERS": ("characters", "символов"),
    }
    for ending, words in units.items():
        if name.endswith(ending):
            return words[document == RUSSIAN]
    return "–"


@pytest.mark.parametrize("readme", READMES)
def test_every_setting_is_listed_with_its_unit_and_default(readme: Path) -> None:
    table = documents.table_with(readme, "LEASE_SECONDS")
    names = [name.upper() for name in Settings.model_fields]

    assert table.first_column() == names
    assert [row[1] for row in table.rows] == [unit_of(name, readme) for name in names]
    assert [row[2] for row in table.rows] == [default_of(name, readme) for name in names]
    assert all(row[3] for row in table.rows)


def test_the_effect_of_a_setting_is_its_own_description() -> None:
    table = documents.table_with(ENGLISH, "LEASE_SECONDS")

    assert [row[3] for row in table.rows] == [
        field.description for field in Settings.model_fields.values()
    ]


@pytest.mark.parametrize("readme", READMES)
def test_the_choices_of_the_local_run_are_listed_with_their_defaults(readme: Path) -> None:
    table = documents.table_with(readme, "DATA_DIR")

    assert {row[0].strip("`"): row[1].strip("`") for row in table.rows} == {
        "API_PORT": str(environment.API_PORT),
        "FLOWER_PORT": str(environment.FLOWER_PORT),
        "DATA_DIR": environment.DATA_DIR,
        "DATABASE_URL": NO_DEFAULT[readme],
        "REDIS_URL": NO_DEFAULT[readme],
    }


@pytest.mark.parametrize("readme", READMES)
def test_what_docker_compose_takes_is_listed_with_its_defaults(readme: Path) -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    interpolated = dict(re.findall(r"\$\{(\w+):-([^}]*)}", text))
    flower = yaml.safe_load(text)["services"]["flower"]["environment"]
    own = {name for name, value in flower.items() if value is None}
    own -= {name.upper() for name in Settings.model_fields}

    table = documents.table_with(readme, "POSTGRES_PASSWORD")

    assert {row[0].strip("`"): row[1].strip("`") for row in table.rows} == {
        **interpolated,
        **dict.fromkeys(own, NO_DEFAULT[readme]),
    }


@pytest.mark.parametrize("readme", READMES)
def test_the_servers_of_the_tests_can_be_named_as_documented(readme: Path) -> None:
    table = documents.table_with(readme, "TEST_DATABASE_URL")
    read = set(re.findall(r"TEST_\w+_URL", (ROOT / "tests/servers.py").read_text(encoding="utf-8")))

    assert set(table.first_column()) == read


# -- Routes and statuses ------------------------------------------------------------------------


@pytest.mark.parametrize("readme", READMES)
def test_every_route_is_listed_with_codes_that_it_documents(readme: Path) -> None:
    paths = create_application().openapi()["paths"]
    routes = {
        f"{method.upper()} {path}": set(operation["responses"])
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    table = documents.table_with(readme, "POST /tasks/")

    assert set(table.first_column()) == routes.keys()
    for row in table.rows:
        codes = set(row[2].split(", "))
        assert codes <= routes[row[0].strip("`")], row


@pytest.mark.parametrize("readme", READMES)
def test_every_status_is_listed(readme: Path) -> None:
    assert documents.table_with(readme, "NEW").first_column() == [*Status]


@pytest.mark.parametrize("readme", READMES)
def test_the_picture_of_the_statuses_is_the_model(readme: Path) -> None:
    (picture,) = [
        block.text
        for block in documents.blocks(readme, "mermaid")
        if block.text.startswith("stateDiagram")
    ]
    arrows = re.findall(r"(\w+) --> (\w+): (.*)", picture)
    drawn = {
        (source, target, name) for source, target, names in arrows for name in names.split(", ")
    }

    assert drawn == {
        (source.value, change.target.value, change.name)
        for change in transitions.ALL
        if change.target is not None
        for source in change.sources
        if source is not change.target
    }


@pytest.mark.parametrize("readme", READMES)
def test_every_error_is_listed(readme: Path) -> None:
    documented = {
        code
        for operations in create_application().openapi()["paths"].values()
        for operation in operations.values()
        for code in operation["responses"]
        if code >= "400"
    }

    # A method that a path does not have cannot be described at the path.
    assert set(documents.table_with(readme, "409").first_column()) == documented | {"405"}


@pytest.mark.parametrize("readme", READMES)
def test_the_columns_of_flower_are_those_that_it_is_told_to_show(readme: Path) -> None:
    text = (ROOT / "app/worker/celery.py").read_text(encoding="utf-8")
    columns = re.search(r'"FLOWER_TASKS_COLUMNS", "([^"]*)"', text)
    assert columns

    shown = documents.table_with(readme, "UUID").first_column()

    assert [name.lower() for name in shown] == columns[1].split(",")


# -- Two languages ------------------------------------------------------------------------------


def test_both_readmes_have_the_same_structure() -> None:
    assert documents.heading_levels(ENGLISH) == documents.heading_levels(RUSSIAN)


def test_both_readmes_have_the_same_commands_and_examples() -> None:
    english, russian = documents.blocks(ENGLISH), documents.blocks(RUSSIAN)

    assert [_without_labels(block) for block in english] == [
        _without_labels(block) for block in russian
    ]


def _without_labels(block: documents.Block) -> tuple[str, str]:
    """Return a block as it must be in both languages; the words in a flow chart may differ."""
    text = block.text
    if text.startswith("flowchart"):
        text = re.sub(r'"[^"]*"|\|[^|"]*\|', "", text)
    return block.language, text


def test_both_readmes_have_tables_about_the_same() -> None:
    english, russian = documents.tables(ENGLISH), documents.tables(RUSSIAN)

    assert [table.first_column() for table in english] == [
        table.first_column() for table in russian
    ]
    assert [len(table.columns) for table in english] == [len(table.columns) for table in russian]


def test_both_readmes_make_their_points_in_lists_of_the_same_length() -> None:
    def points(document: Path) -> int:
        return len(re.findall(r"^(?:-|\d+\.) ", documents.prose(document), flags=re.MULTILINE))

    assert points(ENGLISH) == points(RUSSIAN)


# -- All documents ------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(document: Path) -> None:
    for link in documents.links(document):
        file, _, anchor = link.partition("#")
        target = document.parent / file if file else document
        assert target.exists(), link
        if anchor:
            assert anchor in documents.anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_table_has_as_many_cells_in_each_row_as_columns(document: Path) -> None:
    for table in documents.tables(document):
        for row in table.rows:
            assert len(row) == len(table.columns), row


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))

    for document in DOCUMENTS:
        named = set(re.findall(r"(?:`|^)make ([a-z]+)", document.read_text("utf-8"), re.M))
        assert named <= targets, document


NAMED_CODE = re.compile(r"`((?:app|tests|alembic)/[\w/]+\.py)(?:::(\w+))?`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_and_tests_that_a_document_names_exist(document: Path) -> None:
    for file, name in NAMED_CODE.findall(document.read_text(encoding="utf-8")):
        path = ROOT / file
        assert path.exists(), file
        if name:
            assert re.search(rf"(?:def|class) {name}\b|^{name}\b", path.read_text("utf-8"), re.M), (
                f"{file} has no {name}"
            )


def test_the_changelog_begins_with_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d[^]]*)] - \d{4}-\d{2}-\d{2}$", text, flags=re.MULTILINE)
    assert versions[0] == __version__


@contextmanager
def example_of_a_handler(document: Path, name: str) -> Iterator[TaskType]:
    """Run the document's only block of Python and yield the task type that it registers."""
    (example,) = documents.blocks(document, "python")
    module = ModuleType("example")
    exec(compile(example.text, document.name, "exec", dont_inherit=True), module.__dict__)
    try:
        task_type = registry.get(name)
        assert task_type is not None
        yield task_type
    finally:
        del registry._types[name]


def test_the_example_of_a_handler_works() -> None:
    with example_of_a_handler(ROOT / "CONTRIBUTING.md", "resize") as resize:
        context = TaskContext(task_id=1, attempt=1, failures=0)
        assert resize.run({"path": "a.png", "width": 640}, context) == {"width": 640}
        assert context.progress_fraction == 0.5
        with pytest.raises(PermanentError):
            resize.run({"path": "a.png", "width": 0}, context)


def test_the_example_of_a_function_of_one_s_own_works() -> None:
    with example_of_a_handler(ENGLISH, "word_count") as word_count:
        context = TaskContext(task_id=1, attempt=1, failures=0)
        assert word_count.run({"text": "one two  three"}, context) == {"words": 3}
        assert [line.message for line in context.lines.waiting()] == ["The text has 14 characters"]
        assert (word_count.max_attempts, word_count.timeout_seconds) == (3, 10)
        assert word_count.description == "Count the words of a text."


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs/decisions").glob("*.md")), ids=lambda path: path.stem
)
def test_a_decision_has_its_context_and_consequences(page: Path) -> None:
    headings = re.findall(r"^#+ .*$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert headings[0].startswith(f"# {page.name[:4]}: ")
    assert headings[1:] == ["## Context", "## Decision", "## Consequences"]
