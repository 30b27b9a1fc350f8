"""Turn token ids into text one at a time, never cutting a character in two."""

from __future__ import annotations

import codecs
from collections.abc import Callable


class StreamDecoder:
    """Decode the bytes of token after token; the pushes and the flush together give the whole text.

    piece_bytes: id -> bytes; b"" for a token that is not shown.
    opens_fragment: whether the text after this id starts afresh, so that the space which the tokenizer
    puts before such text is taken away again; at_start says whether the stream itself starts so.
    """

    def __init__(
        self, piece_bytes: Callable[[int], bytes], opens_fragment: Callable[[int], bool], *, at_start: bool
    ) -> None:
        self._piece_bytes = piece_bytes
        self._opens_fragment = opens_fragment
        self._drop_space = at_start
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Return the text that this token completes, "" while a character is still incomplete."""
        data = self._piece_bytes(token_id)
        if self._opens_fragment(token_id):
            self._drop_space = True
        elif data:
            data = data[1:] if self._drop_space and data[:1] == b" " else data
            self._drop_space = False
        return self._utf8.decode(data)

    def flush(self) -> str:
        """Return what is left: U+FFFD for a character that never became complete, else ""."""
        return self._utf8.decode(b"", final=True)
