"""`python -m infra.smoke URL`: whether a deployment serves what it must, told in a line for each thing looked at.

Exit status 1 when something is wrong. Only reads, and only what everybody may read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import httpx

_TIMEOUT = httpx.Timeout(30.0)


class Wrong(Exception):
    """What was found is not what a deployment answers with."""


def _health(client: httpx.Client) -> str:
    answer = client.get("/v1/health")
    if answer.status_code != 200:
        raise Wrong(f"status {answer.status_code}: {answer.text[:300]}")
    health = answer.json()
    ailing = {name: part["detail"] for name, part in health["parts"].items() if part["status"] != "ok"}
    if ailing:
        raise Wrong(f"{health['status']}: {ailing}")
    return "every part works"


def _keys(client: httpx.Client) -> str:
    keys = client.get("/.well-known/jwks.json").raise_for_status().json()["keys"]
    if not keys or any("d" in key for key in keys):
        raise Wrong("there are no keys, or one of them is private")
    return f"{len(keys)} signing keys are public"


def _issuer(client: httpx.Client) -> str:
    document = client.get("/.well-known/openid-configuration").raise_for_status().json()
    published = httpx.get(document["jwks_uri"], timeout=_TIMEOUT).raise_for_status().json()
    if published != client.get("/.well-known/jwks.json").json():
        raise Wrong(f"{document['jwks_uri']} and the route serve different keys")
    return f"{document['issuer']} publishes the same keys"


def _closed(client: httpx.Client) -> str:
    for token in (None, "not-a-token"):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = client.get("/v1/users/me", headers=headers)
        if answer.status_code != 401:
            raise Wrong(f"status {answer.status_code} instead of 401")
    return "nobody is let in without a token of ours"


def _voices(client: httpx.Client) -> str:
    voices = client.get("/v1/voice/voices").raise_for_status().json()["items"]
    if not voices:
        raise Wrong("no voice is offered")
    return f"{len(voices)} voices are offered"


CHECKS: dict[str, Callable[[httpx.Client], str]] = {
    "health": _health,
    "keys": _keys,
    "issuer": _issuer,
    "closed": _closed,
    "voices": _voices,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.smoke", description=__doc__)
    parser.add_argument("url", metavar="URL", help="the gateway's address, as `terraform output gateway_url` tells it")
    wrong = 0
    with httpx.Client(base_url=parser.parse_args(arguments).url, timeout=_TIMEOUT) as client:
        for name, check in CHECKS.items():
            try:
                print(f"ok     {name}: {check(client)}", flush=True)
            except (Wrong, httpx.HTTPError, ValueError, KeyError) as reason:
                wrong += 1
                print(f"WRONG  {name}: {reason}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
