"""What is derived from the declarations is complete, valid, and says nothing that the declarations do not."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Body
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from infra.catalogue import __main__ as command
from infra.catalogue import artefacts, consistency, endpoints, interface, manifest, openapi
from shared.clients.database import DatabaseSettings, ServerSettings
from shared.http.bearer import SignedIn
from shared.http.declaration import Caller, Function
from shared.http.discovery import ROOT, discover
from shared.runtime.visit import Rate

DERIVED = ["infra/functions.json", "infra/gateway.json", "infra/openapi.json", "docs/endpoints.md", "docs/interface.md"]


@pytest.fixture(scope="module")
def functions() -> list[Function]:
    return discover()


@pytest.fixture(scope="module")
def document(functions: list[Function]) -> dict[str, Any]:
    return openapi.document(ROOT, functions)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


# --- the files in the checkout


def test_the_files_in_the_checkout_are_those_that_the_declarations_make(functions: list[Function]) -> None:
    assert artefacts.written_differently(ROOT, functions) == []


def test_the_same_declarations_make_the_same_bytes(functions: list[Function]) -> None:
    assert artefacts.artefacts(ROOT, functions) == artefacts.artefacts(ROOT, discover())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the catalogue reads and writes."""
    for path in DERIVED:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    for part in ("functions", "shared"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("stale", [*DERIVED[:3]])
@pytest.mark.parametrize("change", ["a byte more", "gone"])
def test_the_check_names_the_stale_file_and_the_command_that_mends_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stale: str, change: str
) -> None:
    monkeypatch.setattr(command, "ROOT", checkout)
    assert command.main(["--check"]) == 0
    if change == "gone":
        (checkout / stale).unlink()
    else:
        (checkout / stale).write_text((checkout / stale).read_text() + " ")
    assert command.main(["--check"]) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(stale)
    assert "python -m infra.catalogue" in said
    assert command.main([]) == 0
    assert command.main(["--check"]) == 0


# --- what Terraform reads


def test_the_manifest_holds_every_function_once_with_its_folder(functions: list[Function]) -> None:
    listed = manifest.manifest(ROOT, functions)["functions"]
    folders = sorted(path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "functions").glob("*/*/main.py"))
    assert sorted(entry["source"] for entry in listed.values()) == folders
    assert list(listed) == sorted(listed)


def test_every_entry_point_is_in_its_source(functions: list[Function]) -> None:
    for entry in manifest.manifest(ROOT, functions)["functions"].values():
        tree = ast.parse((ROOT / entry["source"] / "main.py").read_text())
        names = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert entry["entry_point"] in names


def test_a_variable_is_required_optional_or_secret_and_only_one_of_them(functions: list[Function]) -> None:
    for entry in manifest.manifest(ROOT, functions)["functions"].values():
        groups = [*entry["environment"]["required"], *entry["environment"]["optional"], *entry["secrets"]]
        assert len(groups) == len(set(groups))
        assert "K_SERVICE" not in groups, "the platform sets it and refuses it from us"


# --- what clients read


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_the_document_has_exactly_the_declared_operations(document: dict[str, Any], functions: list[Function]) -> None:
    declared = {(operation.path, operation.method) for function in functions for operation in function.operations}
    assert {(path, method) for path, method, _ in operations(document)} == declared


def test_operation_ids_are_unique_and_every_operation_has_its_room(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    tags = {tag["name"] for tag in document["tags"]}
    assert all(set(operation["tags"]) <= tags for _, _, operation in operations(document))
    assert all(tag["description"] for tag in document["tags"])


def test_each_operation_demands_the_credential_of_its_caller(
    document: dict[str, Any], functions: list[Function]
) -> None:
    for function in functions:
        for operation in function.operations:
            described = document["paths"][operation.path][operation.method.lower()]
            open_to_all = operation.caller is Caller.EVERYONE
            assert (described["security"] == []) == open_to_all
            # One that is open to all may refuse what it is given (a wrong password), and then says so itself.
            refusal = described["responses"].get("401", {})
            assert (refusal.get("$ref") == "#/components/responses/Unauthenticated") == (not open_to_all)
            for requirement in described["security"]:
                assert requirement.keys() <= document["components"]["securitySchemes"].keys()


def test_each_operation_takes_the_key_that_it_declares(document: dict[str, Any], functions: list[Function]) -> None:
    for function in functions:
        for operation in function.operations:
            described = document["paths"][operation.path][operation.method.lower()]
            references = {parameter.get("$ref", "").rpartition("/")[2] for parameter in described["parameters"]}
            assert ("IdempotencyKeyRequired" in references) == (operation.idempotency == "required")
            assert ("IdempotencyKeyAccepted" in references) == (operation.idempotency == "accepted")
            assert "RequestId" in references


def test_a_refusal_is_always_a_problem_document(document: dict[str, Any]) -> None:
    shared = document["components"]["responses"]
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            resolved = shared[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
            if int(status) >= 400 and (method, path, status) != ("GET", "/v1/health", "503"):
                assert list(resolved["content"]) == ["application/problem+json"], (method, path, status)
            assert "X-Request-Id" in resolved["headers"]


def test_what_streams_says_so(document: dict[str, Any], functions: list[Function]) -> None:
    for function in functions:
        for operation in function.operations:
            answers = document["paths"][operation.path][operation.method.lower()]["responses"]
            kinds = {kind for status, answer in answers.items() if status < "300" for kind in answer.get("content", {})}
            streamed = {kind for kind in kinds if kind != "application/json"}
            assert bool(streamed) or not operation.streams, operation.route


def test_no_model_is_named_by_its_module(document: dict[str, Any]) -> None:
    assert not [name for name in document["components"]["schemas"] if "__" in name]


class Wish(BaseModel):
    text: str


def test_two_models_of_one_name_are_refused() -> None:
    first, second = sample("kit-first", "/v1/first"), sample("kit-second", "/v1/second")
    other = type("Wish", (BaseModel,), {"__annotations__": {"count": int}, "__module__": "elsewhere"})

    @first.post("Wish", caller=Caller.EVERYONE)
    async def wish(body: Wish) -> None: ...

    async def count(body: Any) -> None: ...

    count.__annotations__["body"] = other
    second.post("Count", caller=Caller.EVERYONE)(count)
    with pytest.raises(ExceptionGroup) as refused:
        openapi.document(ROOT, [first, second])
    assert any("share the name Wish" in str(reason) for reason in refused.value.exceptions)


# --- declarations that contradict themselves


def sample(name: str = "kit-sample", path: str = "/v1/sample", **changes: Any) -> Function:
    room, _, folder = name.partition("-")
    function = Function(name=name, path=path, **changes)
    function.source = ROOT / "functions" / room / folder.replace("-", "_") / "main.py"
    return function


def good(**changes: Any) -> Function:
    function = sample(**changes)

    @function.get("Look", caller=Caller.PERSON, rate=Rate(60, burst=20))
    async def look(person: SignedIn) -> None: ...

    return function


def test_a_good_declaration_contradicts_nothing() -> None:
    assert consistency.contradictions([good()]) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"settings": (DatabaseSettings,)}, "reads the secret BACKEND_KEY and does not list it"),
        ({"secrets": ("BACKEND_KEY",)}, "lists the secret BACKEND_KEY and none of its `settings` reads it"),
        ({"server_calls": ("ping",)}, "the server key and `server_calls` go together"),
        (
            {"settings": (ServerSettings,), "secrets": ("SUPABASE_SECRET_KEY",)},
            "the server key and `server_calls` go together",
        ),
        ({"cpu": 0.5}, "concurrency only with a whole processor"),
        ({"timeout_seconds": 4000}, "timeout"),
        ({"name": "kit-" + "x" * 60}, "cannot be a service's name"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_declaration_that_contradicts_itself_is_refused(changes: dict[str, Any], reason: str) -> None:
    (found,) = consistency.contradictions([good(**changes)])
    assert reason in found


def test_the_name_is_the_folders() -> None:
    function = good()
    function.source = ROOT / "functions" / "kit" / "other" / "main.py"
    assert consistency.contradictions([function]) == ["kit-sample: its folder says that its name is kit-other"]


def test_two_functions_never_share_a_path_whatever_its_parameters_are_called() -> None:
    first, second = good(name="kit-a", path="/v1/x/{id}"), good(name="kit-b", path="/v1/x/{thing_id}")
    assert consistency.contradictions([first, second]) == ["the path template /v1/x/{} is declared 2 times"]


def test_a_function_that_does_nothing_is_refused() -> None:
    assert consistency.contradictions([sample()]) == ["kit-sample: it declares no operation"]


def test_only_a_post_takes_an_idempotency_key() -> None:
    function = sample()

    @function.patch("Change", caller=Caller.EVERYONE, idempotency="accepted")
    async def change(body: dict[str, int] = Body()) -> None: ...  # noqa: B008

    (found,) = consistency.contradictions([function])
    assert "which only a POST does" in found


def test_a_person_who_has_no_rate_would_not_be_counted() -> None:
    function = sample()

    @function.get("Look", caller=Caller.PERSON)
    async def look(person: SignedIn) -> None: ...

    (found,) = consistency.contradictions([function])
    assert "GET /v1/sample has no rate" in found


# --- the promised interface


def test_every_available_row_is_declared_and_every_declared_operation_has_a_row(functions: list[Function]) -> None:
    page = (ROOT / interface.PATH).read_text()
    assert interface.contradictions(page, functions) == []
    available = {promise.address for promise in interface.promises(page) if promise.status == "available"}
    assert available == {
        (operation.method, consistency.template(operation.path))
        for function in functions
        for operation in function.operations
    }


def test_a_promise_stands_once() -> None:
    addresses = [promise.address for promise in interface.promises((ROOT / interface.PATH).read_text())]
    assert len(addresses) == len(set(addresses))
    assert len(addresses) > 60


def test_every_row_of_the_page_can_be_read() -> None:
    rows = [line for line in (ROOT / interface.PATH).read_text().splitlines() if line.startswith("| `")]
    assert len(rows) == len(interface.promises((ROOT / interface.PATH).read_text()))


PAGE = """# Interface

| `GET /v1/sample` | person | - | planned | Look |
| `POST /v1/other` | person | required | available | Do |
"""


def test_rows_are_marked_from_the_declarations_and_nothing_else_changes() -> None:
    marked = interface.marked(PAGE, [good()])
    assert marked == PAGE.replace("planned", "PLANNED").replace("available", "planned").replace("PLANNED", "available")
    assert interface.marked(marked, [good()]) == marked


def test_a_path_is_shown_as_it_is_declared() -> None:
    page = "| `GET /v1/x/{id}` | person | - | planned | Look |\n"
    assert "`GET /v1/x/{thing_id}`" in interface.marked(page, [good(path="/v1/x/{thing_id}")])


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("", "has no row in docs/interface.md"),
        (PAGE.replace("person", "everyone"), "declared for person and promised to everyone"),
        (PAGE.replace("person | - ", "person | required "), "has the idempotency key none"),
    ],
)
def test_a_declaration_that_breaks_a_promise_is_refused(page: str, reason: str) -> None:
    (found,) = interface.contradictions(page, [good()])
    assert reason in found


def test_the_table_has_a_row_for_each_operation(functions: list[Function]) -> None:
    page = endpoints.page(ROOT, functions)
    for function in functions:
        for operation in function.operations:
            assert page.count(f"| `{operation.route}` |") == 1


def test_the_files_hold_no_trace_of_the_machine_they_were_made_on() -> None:
    for path in DERIVED:
        text = (ROOT / path).read_text()
        assert str(ROOT) not in text
        assert str(Path.home()) not in text
    json.loads((ROOT / "infra/functions.json").read_text())
