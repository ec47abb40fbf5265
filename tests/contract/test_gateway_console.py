"""The page, the documents and the console that stand beside the API on a laptop."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest

from local.mail import Mailbox
from tests.support.firestore import ROOT, running_store
from tests.support.gateway import RunningGateway, running_gateway


@pytest.fixture(scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningGateway]:
    async with running_gateway(tmp_path_factory.mktemp("console"), [], {}) as gateway:
        yield gateway


class TestPage:
    async def test_the_pages_headers_allow_the_microphone_and_nothing_foreign(self, gateway: RunningGateway) -> None:
        headers = (await gateway.client.get("/")).headers
        assert "microphone=(self)" in headers["permissions-policy"]
        policy = headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "http" not in policy

    async def test_the_documents_page_needs_nothing_from_the_network(self, gateway: RunningGateway) -> None:
        page = await gateway.client.get("/docs")
        assert page.status_code == 200
        assert "http://" not in page.text
        assert "https://" not in page.text
        assert (await gateway.client.get("/docs/start.js")).headers["content-type"].startswith("text/javascript")

    @pytest.mark.parametrize("path", ["/../pyproject.toml", "/%2e%2e/pyproject.toml", "/docs/..%2f..%2fMakefile"])
    async def test_no_path_leads_out_of_the_pages_folder(self, gateway: RunningGateway, path: str) -> None:
        assert (await raw_get(gateway.places.port, path)).startswith(b"HTTP/1.1 404")


async def raw_get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


class TestConsole:
    async def test_mail_is_given_by_recipient_newest_first(self, gateway: RunningGateway) -> None:
        mailbox = Mailbox(gateway.places.mail_file)
        for subject in ("one", "two"):
            message = EmailMessage()
            message["Subject"] = subject
            message.set_content(f"This is {subject}.")
            mailbox.keep(["a@oprina.test"], "b@oprina.test", message)
        mails = (await gateway.client.get("/local/mail", params={"to": "A@oprina.test"})).json()
        assert [mail["subject"] for mail in mails] == ["two", "one"]
        assert {"to", "subject", "text", "html", "received_at"} <= mails[0].keys()
        assert (await gateway.client.get("/local/mail", params={"to": "c@oprina.test"})).json() == []
        page = await gateway.client.get(f"/local/mail/read/{mails[0]['id']}")
        assert "This is two." in page.text

    async def test_a_mails_own_html_can_run_nothing(self, gateway: RunningGateway) -> None:
        message = EmailMessage()
        message["Subject"] = "<script>alert(1)</script>"
        message.set_content("plain")
        message.add_alternative("<script>alert(2)</script><b>bold</b>", subtype="html")
        mailbox = Mailbox(gateway.places.mail_file)
        mailbox.keep(["x@oprina.test"], "b@oprina.test", message)
        mail_id = mailbox.read("x@oprina.test")[0].id
        reader = await gateway.client.get(f"/local/mail/read/{mail_id}")
        assert "<script>" not in reader.text
        document = await gateway.client.get(f"/local/mail/read/{mail_id}/html")
        assert "sandbox" in document.headers["content-security-policy"]
        assert "script-src" not in document.headers["content-security-policy"]

    async def test_endpoints_name_every_stand_in(self, gateway: RunningGateway) -> None:
        answer = (await gateway.client.get("/local/endpoints")).json()
        assert {
            "speech",
            "texttospeech",
            "secrets",
            "firestore",
            "agent",
            "supabase",
            "google",
            "liveavatar",
            "heygen",
            "s3",
            "smtp",
            "project",
            "region",
        } <= answer.keys()
        assert {"access_key_id", "secret_access_key", "region", "bucket"} <= answer["s3"].keys()
        assert answer["speech"]["url"] == f"http://127.0.0.1:{gateway.places.speech_port}"

    async def test_firestore_is_shown_as_it_is_kept_and_nothing_of_it_runs(self, gateway: RunningGateway) -> None:
        assert "No documents yet" in (await gateway.client.get("/local/firestore")).text
        async with running_store(gateway.places.data) as store:
            moment = datetime(2026, 1, 2, tzinfo=UTC)
            wild = "<img src=x onerror=alert(1)>&\"'"
            await store.client.collection("steps").document(wild).set({wild: [wild, {"at": moment}]})
            await store.client.document(f"steps/{wild}/parts/deep").set({"raw": b"\x00", "n": 1.5, "none": None})
            for number in range(101):
                await store.client.document(f"many/{number:03}").set({"n": number})
        overview = await gateway.client.get("/local/firestore")
        links = [html.unescape(link) for link in re.findall(r'href="(/local/firestore/documents[^"]*)"', overview.text)]
        assert len(links) == 3
        many = next(link for link in links if "collection=many" in link)
        first = await gateway.client.get(many)
        assert ("000" in first.text, "100</a>" in first.text) == (True, False)
        more = html.unescape(re.findall(r'href="([^"]*after=[^"]*)"', first.text)[0])
        assert "100</a>" in (await gateway.client.get(more)).text
        for link in links:
            page = await gateway.client.get(link)
            assert "<img" not in page.text
            for inner in re.findall(r'href="(/local/firestore/document\?[^"]*)"', page.text)[:2]:
                document = await gateway.client.get(html.unescape(inner))
                assert document.status_code == 200
                assert "<img" not in document.text
        deep = {"database": ROOT, "path": f"steps/{wild}/parts/deep"}
        shown = html.unescape((await gateway.client.get("/local/firestore/document", params=deep)).text)
        assert '"raw": "base64:AA=="' in shown
        missing = await gateway.client.get("/local/firestore/document", params=deep | {"path": "steps/none"})
        assert missing.status_code == 404
        assert (await gateway.client.post("/local/firestore")).status_code == 405

    async def test_faults_are_replaced_whole_or_not_at_all(self, gateway: RunningGateway) -> None:
        faults = {"speech": {"Recognize": {"delay_ms": 50, "status": "UNAVAILABLE"}}}
        assert (await gateway.client.put("/local/faults", json=faults)).json() == faults
        refused: list[Any] = [
            {"nobody": {"*": {}}},
            {"speech": {"*": {"delay_ms": -1}}},
            {"speech": {"*": {"what": 1}}},
            {"agent": {"*": {"status": "UNAVAILABLE"}}},
        ]
        for wrong in refused:
            assert (await gateway.client.put("/local/faults", json=wrong)).status_code == 422
        assert (await gateway.client.put("/local/faults", content=b"{")).status_code == 400
        assert (await gateway.client.get("/local/faults")).json() == faults

    async def test_the_fault_editor_sets_and_removes_one_fault(self, gateway: RunningGateway) -> None:
        await gateway.client.put("/local/faults", json={"smtp": {"DATA": {"status": 451}}})
        form = {"standin": "agent", "method": "", "delay_ms": "20", "lose_answer": "on"}
        assert (await gateway.client.post("/local/faults/edit", data=form)).status_code == 303
        expected = {"smtp": {"DATA": {"status": 451}}, "agent": {"*": {"delay_ms": 20, "lose_answer": True}}}
        assert (await gateway.client.get("/local/faults")).json() == expected
        gone = {"standin": "smtp", "method": "DATA", "remove": "1"}
        await gateway.client.post("/local/faults/edit", data=gone)
        assert (await gateway.client.get("/local/faults")).json() == {"agent": expected["agent"]}
        refused = await gateway.client.post("/local/faults/edit", data=form | {"delay_ms": "soon"})
        assert 'role="alert"' in refused.text

    @pytest.mark.parametrize(
        ("method", "headers"),
        [
            ("GET", {"Host": "evil.test"}),
            ("GET", {"Host": "evil.test:{port}"}),
            ("GET", {"Host": "127.0.0.1"}),
            ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}),
            ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Dest": "script"}),
            ("PUT", {"Origin": "http://evil.test"}),
            ("PUT", {"Origin": "http://127.0.0.1:1"}),
            ("PUT", {"Origin": "null"}),
            ("PUT", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}),
        ],
    )
    async def test_another_site_reaches_nothing_of_the_console(
        self, gateway: RunningGateway, method: str, headers: dict[str, str]
    ) -> None:
        await gateway.client.put("/local/faults", json={})
        sent = {name: value.format(port=gateway.places.port) for name, value in headers.items()}
        answer = await gateway.client.request(
            method, "/local/faults", headers=sent, json={"smtp": {"*": {"status": 500}}}
        )
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers
        assert (await gateway.client.get("/local/faults")).json() == {}

    async def test_a_link_from_elsewhere_may_be_followed(self, gateway: RunningGateway) -> None:
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert (await gateway.client.get("/local/", headers=headers)).status_code == 200
