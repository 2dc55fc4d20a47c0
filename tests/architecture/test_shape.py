"""The shape of the code that a reader relies on."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import Table

from apaise.type.v1 import access_pb2

ROOT = Path(__file__).parents[2]
SERVICES = ("ingest", "classify", "route", "train")
CONTRACTS = {
    "ingest": ["ingest_service"],
    "classify": ["classify_service"],
    "route": [
        "route_service",
        "charter_service",
        "review_service",
        "case_service",
        "figures_service",
        "preflight_service",
        "forward_service",
        "reply_service",
        "answer_service",
        "archive_service",
    ],
    "train": ["train_service"],
}
PERSONAL = {"text", "details", "vector", "embedding", "author_key", "display_name_of_author"}


def servicer_methods() -> Iterator[tuple[str, ast.AsyncFunctionDef]]:
    for service in SERVICES:
        for file in (ROOT / f"services/{service}/src/apaise_{service}/transport").glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef) and node.name.endswith("Servicer"):
                    for method in node.body:
                        if isinstance(method, ast.AsyncFunctionDef) and method.name[0].isupper():
                            yield f"{service}.{method.name}", method


METHODS = dict(servicer_methods())


def test_every_rpc_has_its_servicer_method() -> None:
    names = {
        f"{service}.{method.name}"
        for service, files in CONTRACTS.items()
        for file in files
        for contract in import_module(f"apaise.{service}.v1.{file}_pb2").DESCRIPTOR.services_by_name.values()
        for method in contract.methods
    }
    assert names == set(METHODS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_servicer_method_decodes_calls_and_encodes(name: str) -> None:
    method = METHODS[name]
    assert method.end_lineno is not None
    assert method.end_lineno - method.lineno + 1 <= 15
    assert not any(isinstance(node, ast.Try) for node in ast.walk(method))


@pytest.mark.parametrize("service", SERVICES)
def test_every_rpc_says_who_may_call_it(service: str) -> None:
    for file in CONTRACTS[service]:
        for contract in import_module(f"apaise.{service}.v1.{file}_pb2").DESCRIPTOR.services_by_name.values():
            for method in contract.methods:
                roles = method.GetOptions().Extensions[access_pb2.access].roles
                assert roles, f"{method.full_name} has no access option"
                assert access_pb2.ROLE_UNSPECIFIED not in roles


def personal_tables() -> Iterator[tuple[str, Table]]:
    for service in SERVICES:
        tables = import_module(f"apaise_{service}.adapters.tables").metadata.tables.values()
        for table in tables:
            if {column.name for column in table.columns} & PERSONAL:
                yield f"{service}.{table.name}", table


TABLES = dict(personal_tables())


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_table_about_people_can_be_searched_by_brand_message_and_author(name: str) -> None:
    table = TABLES[name]
    keys = [list(table.primary_key.columns), *[list(index.columns) for index in table.indexes]]
    # Leading, or right behind the brand, which every such query gives.
    reachable = {columns[0].name for columns in keys if columns}
    reachable |= {columns[1].name for columns in keys if len(columns) > 1 and columns[0].name == "brand"}
    assert {"brand", "message", "author_key"} <= reachable


def test_there_are_such_tables() -> None:
    assert "ingest.messages" in TABLES
    assert "route.messages" in TABLES
