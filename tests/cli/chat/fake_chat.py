"""`tropilla chat` with the scripted model: what the terminal tests start in place of the real program.

FAKE_REPLIES: a JSON list of answers; FAKE_DELAY_S: time for each token; FAKE_CONTEXT: its
length; FAKE_PREFILL_S: time to read a prompt, unless cancelled.
"""

from __future__ import annotations

import json
import os
import sys
import time

from tests.cli.chat.fake_model import FakeModel
from tropilla.cli import chat
from tropilla.cli.parser import Parser
from tropilla.cli.shell import guarded
from tropilla.errors import RequestError


def open_model(name: str) -> FakeModel:
    if name == "broken":
        raise RequestError("there is no model 'broken'; did you mean 'fake'?")
    time.sleep(float(os.environ.get("FAKE_LOAD_S", "0")))
    replies = json.loads(os.environ.get("FAKE_REPLIES", '["ok"]'))
    return FakeModel(
        replies,
        int(os.environ.get("FAKE_CONTEXT", "2048")),
        delay_s=float(os.environ.get("FAKE_DELAY_S", "0")),
        prefill_s=float(os.environ.get("FAKE_PREFILL_S", "0")),
    )


def main() -> int:
    parser = Parser(prog="tropilla chat", description=None)
    chat.add_arguments(parser)
    arguments = parser.parse_args(sys.argv[1:])
    return guarded(lambda: chat.run(arguments, open_model))


if __name__ == "__main__":
    sys.exit(main())
