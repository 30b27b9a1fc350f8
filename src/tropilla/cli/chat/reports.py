"""What the chat says in lines and tables: the status after an answer, statistics, lists."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tropilla.cli.chat.model_name import short
from tropilla.cli.chat.seam import Memory
from tropilla.cli.chat.session import Turn
from tropilla.hub.disk import human_bytes
from tropilla.store.chats import StoredChat

if TYPE_CHECKING:
    from tropilla.cli.chat.app import ChatApp

_NEARLY_FULL = 0.8


def status_line(turn: Turn) -> str:
    """Return the line under an answer: speed, prompt size, context meter, and what cut the answer short."""
    speed = turn.tokens_per_s
    parts = [count(turn.new_tokens, "token") if speed is None else f"{speed:.1f} tokens/s"]
    parts += [
        f"prompt {turn.prompt_tokens}",
        f"context {context_meter(turn.context_used, turn.context_length)}",
    ]
    ending = _ending(turn)
    if ending:
        parts.append(ending)
    elif turn.context_used >= _NEARLY_FULL * turn.context_length:
        parts.append("nearly full: /forget makes room")
    return " · ".join(parts)


def context_meter(used: int, context_length: int) -> str:
    """Return used/total with the share in per cent."""
    return f"{used}/{context_length} ({100 * used // context_length}%)"


def chat_stats(app: ChatApp) -> str:
    """Return what /stats shows."""
    session, turn = app.session, app.session.last_turn
    used = session.count_tokens()
    lines = [
        f"model       {app.model_name}",
        f"chat        {count(len(session.messages), 'message')}, {app.stored.id}",
        f"context     {context_meter(used, app.model.context_length)}",
        f"memory      {_memory(app.model.stats.memory)}",
    ]
    work = app.model.stats.work
    if work.proposed_tokens:
        share = f"{work.accepted_tokens}/{work.proposed_tokens}"
        lines.append(f"speculation {share} proposed tokens accepted since the model was opened")
    if turn is not None:
        speed = "" if turn.tokens_per_s is None else f", {turn.tokens_per_s:.1f} tokens/s"
        lines += [
            f"last prompt {count(turn.prompt_tokens, 'token')}, first token after {turn.first_token_s:.2f} s",
            f"last answer {count(turn.new_tokens, 'token')}{speed}, ended by {turn.finish_reason}",
        ]
    return "\n".join(lines)


def chat_list(chats: Sequence[StoredChat]) -> str:
    """Return the stored chats, numbered as /load takes them."""
    if not chats:
        return "There are no stored chats yet."
    lines = [f"{number:3}  {_chat_row(chat)}" for number, chat in enumerate(chats, 1)]
    return "\n".join([*lines, "", "/load NUMBER goes on with one."])


def count(n: int, noun: str) -> str:
    """Return "1 token", "2 tokens"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _memory(memory: Memory) -> str:
    parts = {
        "weights": memory.weights_bytes,
        "context": memory.kv_bytes,
        "work space": memory.scratch_bytes,
    }
    return ", ".join(f"{name} {human_bytes(size)}" for name, size in parts.items())


def _chat_row(chat: StoredChat) -> str:
    n_messages = count(len(chat.messages), "message")
    return f"{chat.title:40}  {n_messages:>12}  {_age(chat.updated_s):>6}  {short(chat.model)}"


def _ending(turn: Turn) -> str:
    if turn.finish_reason == "cancelled":
        return "stopped"
    if turn.finish_reason != "length":
        return ""
    if turn.at_max_tokens:
        return f"cut at max_tokens = {turn.new_tokens}: /set max_tokens changes it"
    return "cut: the context is full; /forget the oldest questions, then /regenerate"


def _age(then_s: float) -> str:
    minutes = int(time.time() - then_s) // 60
    for unit, size in (("d", 24 * 60), ("h", 60), ("min", 1)):
        if minutes >= size:
            return f"{minutes // size} {unit}"
    return "now"
