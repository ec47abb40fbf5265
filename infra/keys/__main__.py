"""Exchange the keys that sign access tokens, without anybody noticing.

    python -m infra.keys status
    python -m infra.keys rotate                 take the step that is due, and say what comes next and when
    python -m infra.keys rotate --wait          the same, staying to the next step that somebody else has to take
    python -m infra.keys rotate --deployed 7    the functions now sign with version 7 of the secret
    python -m infra.keys rotate --now           everything at once: for a laptop, where nobody keeps old keys

A rotation publishes a new key beside the old one, waits 40 minutes until every cache knows it, adds the version of the
secret that signs with it, waits for its deployment and 20 minutes more, until no token of the old key is left, and then
withdraws the old key. It may be broken off anywhere: run it again, and it goes on. A run that ends a rotation begins no
other; the one after it does.

Reads from the environment: GOOGLE_CLOUD_PROJECT; PUBLIC_FOLDER, where the issuer's public documents lie (`file:/folder`
or `gs://bucket`); and, where they are not Google's own, SECRETS_ENDPOINT, STORAGE_ENDPOINT and KEYRING_SECRET.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from google.auth.exceptions import GoogleAuthError

from infra.keys.publication import NOTHING, Publication, PublicationFailed, publication
from infra.keys.rotation import Next, Ring, RotationRefused, State, Step, next_step
from infra.keys.secret import KeyringSecret, SecretFailed
from shared.runtime import clock
from shared.runtime.errors import ConfigurationError
from shared.runtime.settings import Settings, load

Say = Callable[[str], None]


class KeySettings(Settings):
    """Which secret the keyring is, and where its public half is published."""

    google_cloud_project: str
    public_folder: str
    keyring_secret: str = "access-token-keyring"  # noqa: S105 - its name
    secrets_endpoint: str = "https://secretmanager.googleapis.com"
    storage_endpoint: str = "https://storage.googleapis.com"


class Rotation:
    """One keyring and its publication, and the steps between them."""

    def __init__(self, secret: KeyringSecret, place: Publication, say: Say) -> None:
        self._secret, self._place, self._say = secret, place, say

    def state(self) -> State:
        # What is published is read first: whoever publishes something newer than this keyring changes its generation.
        published = self._place.read()
        newest = self._secret.newest()
        if newest is None:
            return State(None, 0, published)
        return State(Ring.read(newest[1]), newest[0], published)

    def run(self, *, at_once: bool = False, wait: bool = False, deployed: int | None = None) -> None:
        """Take every step that is due, to the end of this rotation.

        Raises:
            RotationRefused, SecretFailed, PublicationFailed: the step was not taken; the next run goes on from there.
        """
        begun = False
        if deployed is not None:
            self._note_deployment(deployed)
        while True:
            state = self.state()
            following = next_step(state)
            if following.step is Step.BEGIN and begun:
                self._say("Done: nothing is under way any more.")
                return
            following = following.at_once() if at_once else following
            if following.step is Step.DEPLOY and not at_once:
                self._say(describe(state, following))
                return
            if not following.is_due(clock.now()):
                self._say(describe(state, following))
                if not wait:
                    return
                _sleep_until(following.due)
            # Making the first key begins no rotation; setting right what broke off at the very end finishes one.
            begun = begun or following.step is not Step.BEGIN or state.ring is not None
            self._take(following.step, state)

    def _take(self, step: Step, state: State) -> None:
        ring = state.ring
        if step is Step.PUBLISH:
            self._publish(state)
        elif ring is None:
            self._add(Ring.first(), "the first key")
        elif step is Step.BEGIN:
            self._add(ring.with_new_key(), "a new key, not signing yet")
        elif step is Step.SIGN:
            self._add(ring.signing_with_new(), "signs with the new key")
        elif step is Step.DEPLOY:
            self._add(ring.deployed(clock.now()), "the new key signs from now on")
        else:
            self._add(ring.without_old_key(), "without the old key")

    def _add(self, ring: Ring, what: str) -> None:
        version = self._secret.add(ring.text)
        self._say(f"added version {version} of the secret: {what}")

    def _publish(self, state: State) -> None:
        assert state.ring is not None
        self._place.write(state.ring.public, state.published.generation if state.published else NOTHING)
        self._say(f"published {', '.join(state.ring.kids)}")

    def _note_deployment(self, version: int) -> None:
        state = self.state()
        if state.ring is None or not state.ring.signs_with_new:
            raise RotationRefused("No version that signs with a new key is waiting to be deployed.")
        if Ring.read(self._secret.read(version)).active != state.ring.active:
            raise RotationRefused(f"Version {version} does not sign with the new key {state.ring.active}.")
        if state.ring.deployed_at is None:
            self._take(Step.DEPLOY, state)


def describe(state: State, following: Next) -> str:
    """What comes next, for a person."""
    when = f" from {_stamp(following.due)} on" if following.due else ""
    sentences = {
        Step.BEGIN: "No rotation is under way; `rotate` begins one." if state.ring else "`rotate` makes the first key.",
        Step.PUBLISH: "The published keys are not those of the keyring; `rotate` publishes them.",
        Step.SIGN: f"Every cache knows the new key{when}; then `rotate` adds the version that signs with it.",
        Step.DEPLOY: f"Deploy the functions with version {state.version} of the secret, then say"
        f" `rotate --deployed {state.version}`.",
        Step.WITHDRAW: f"No token of the old key is left{when}; then `rotate` withdraws it.",
    }
    return f"Next: {sentences[following.step]}"


def status(state: State) -> str:
    ring = state.ring
    lines = ["keyring    none"]
    if ring is not None:
        lines = [f"keyring    version {state.version}, {len(ring.kids)} keys"]
        lines += [f"  {kid}  {'signs' if kid == ring.active else 'does not sign'}" for kid in ring.kids]
    published = f"since {_stamp(state.published.since)}" if state.published else "nothing"
    lines.append(f"published  {published}{'' if state.is_published or not state.published else ', not this keyring'}")
    return "\n".join([*lines, describe(state, next_step(state))])


def _stamp(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC") if at else "now"


def _sleep_until(due: datetime | None) -> None:
    while due is not None and (left := (due - clock.now()).total_seconds()) > 0:
        time.sleep(min(left, 60))


def open_rotation(say: Say = print) -> Rotation:
    """The rotation that the environment describes.

    Raises:
        ConfigurationError: a variable is missing or wrong.
    """
    settings = load(KeySettings)
    try:
        place = publication(settings.public_folder, settings.storage_endpoint)
    except ValueError as error:
        raise ConfigurationError([f"the environment variable PUBLIC_FOLDER is wrong: {error}"]) from None
    secret = KeyringSecret(settings.google_cloud_project, settings.keyring_secret, settings.secrets_endpoint)
    return Rotation(secret, place, say)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.keys", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="where the keys stand, and what comes next")
    rotate = commands.add_parser("rotate", help="begin a rotation, or go on with the one under way")
    rotate.add_argument("--wait", action="store_true", help="stay until somebody else has to do something")
    rotate.add_argument("--now", action="store_true", help="wait for nothing: every token of the old key is refused")
    rotate.add_argument("--deployed", type=int, metavar="VERSION", help="the functions run with this version")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    wanted = _parser().parse_args(arguments)
    try:
        rotation = open_rotation()
        if wanted.command == "status":
            print(status(rotation.state()))
        else:
            rotation.run(at_once=wanted.now, wait=wanted.wait, deployed=wanted.deployed)
    except ConfigurationError as missing:
        print(f"Not done: {missing}.", file=sys.stderr)
        return 2
    except (RotationRefused, SecretFailed, PublicationFailed, GoogleAuthError) as refused:
        print(f"Not done: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
