"""users.labels: https://developers.google.com/workspace/gmail/api/reference/rest/v1/users.labels"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from local.google.gmail.mailbox import SYSTEM_LABELS, Mailbox
from local.google.rest import ApiError, Call, invalid, not_found

_CHANGEABLE: Final = ("name", "messageListVisibility", "labelListVisibility", "color")
_SHOWN: Final = {"messageListVisibility": "show", "labelListVisibility": "labelShow"}
_LONGEST: Final = 225


class LabelMethods:
    def __init__(self, mailbox: Callable[[Call], Mailbox]) -> None:
        self._mailbox = mailbox

    def list(self, call: Call) -> dict[str, Any]:
        return {"labels": self._mailbox(call).labels()}

    def get(self, call: Call) -> dict[str, Any]:
        box = self._mailbox(call)
        label = _known(box, call.path["id"])
        mails = [mail for mail in box.mails() if label["id"] in mail.labels]
        unread = [mail for mail in mails if "UNREAD" in mail.labels]
        return {
            **label,
            "messagesTotal": len(mails),
            "messagesUnread": len(unread),
            "threadsTotal": len({mail.thread for mail in mails}),
            "threadsUnread": len({mail.thread for mail in unread}),
        }

    def create(self, call: Call) -> dict[str, Any]:
        box = self._mailbox(call)
        numbers = [int(label["id"].partition("_")[2]) for label in box.labels() if label["type"] == "user"]
        identity = f"Label_{max(numbers, default=0) + 1}"
        return _keep(box, {"id": identity, "type": "user", **_SHOWN}, call.body)

    def update(self, call: Call) -> dict[str, Any]:
        box = self._mailbox(call)
        return _keep(box, {"id": _own(box, call)["id"], "type": "user", **_SHOWN}, call.body)

    def patch(self, call: Call) -> dict[str, Any]:
        box = self._mailbox(call)
        return _keep(box, _own(box, call), call.body)

    def delete(self, call: Call) -> None:
        box = self._mailbox(call)
        box.remove_label(_own(box, call)["id"])


def _known(box: Mailbox, identity: str) -> dict[str, Any]:
    for label in box.labels():
        if label["id"] == identity:
            return label
    raise not_found()


def _own(box: Mailbox, call: Call) -> dict[str, Any]:
    label = _known(box, call.path["id"])
    if label["type"] == "system":
        raise invalid("Invalid update request: system labels cannot be changed")
    return label


def _keep(box: Mailbox, before: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    label = before | {name: changes[name] for name in _CHANGEABLE if name in changes}
    name = label.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST or name.strip().upper() in SYSTEM_LABELS:
        raise invalid("Invalid label name")
    label["name"] = name.strip()
    try:
        box.keep_label(label)
    except sqlite3.IntegrityError:
        raise ApiError(409, "Label name exists or conflicts", "aborted", status="ABORTED") from None
    return label
