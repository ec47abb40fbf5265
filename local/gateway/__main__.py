"""`python -m local.gateway`: the API, the page and the console on one port."""

from __future__ import annotations

import uvicorn

from local.gateway.application import build, upstreams
from local.gateway.passage import MAX_HEADER_BYTES
from local.launcher.provision import provision
from local.places import HOST, Places
from shared.http.discovery import discover

# What the server still reads, so that the gateway itself can refuse headers beyond the platform's limit with 431.
READ_HEADER_BYTES = 4 * MAX_HEADER_BYTES


def main() -> None:
    places = Places.from_environment()
    functions = discover()
    provision(functions, places.background_port)
    uvicorn.run(
        build(places, functions, upstreams(functions)),
        host=HOST,
        port=places.port,
        http="h11",
        ws="none",
        h11_max_incomplete_event_size=READ_HEADER_BYTES,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=75,
        access_log=False,
        log_level="info",
        server_header=False,
        forwarded_allow_ips="",
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()
