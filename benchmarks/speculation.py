"""Time answers with and without speculation, side by side: text that repeats itself, and text that does not.

Two engines hold the same model. Both answer the same question with the same seed, so they write the same
text; they take turns every few tokens, so that both meet the same state of the machine. Prompts are read
beforehand and not counted. Each line gives tokens per second of all repeats together, the ratio of the
repeats (median, lowest to highest), and the proposed tokens that were accepted.

    python -m benchmarks.speculation smollm2
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import tropilla
from tropilla import Sampling
from tropilla.api.token_sampling import token_sampling
from tropilla.engine.sequence import TokenEvent

CODE = """\
def read_table(path, separator=","):
    rows = []
    with open(path) as file:
        for line in file:
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            cells = [cell.strip() for cell in line.split(separator)]
            rows.append(cells)
    return rows


def column_sums(rows, first_row=1):
    sums = [0.0] * len(rows[0])
    for row in rows[first_row:]:
        for index, cell in enumerate(row):
            try:
                sums[index] += float(cell)
            except ValueError:
                pass
    return sums


def print_report(path):
    rows = read_table(path)
    for name, total in zip(rows[0], column_sums(rows)):
        print(f"{name:20} {total:10.2f}")
"""
STORY = """\
The old lighthouse at Cape Marlow had not been lit for eleven years when Ada Venn came up the path with a \
lantern and a bag of tools. The keeper's cottage had lost its door, and gulls had nested in the chimney. \
She put the bag on the table, wiped the salt from the window and looked at the sea. Three boats were coming \
home late, and the fog was already at the mouth of the bay. She had promised her father that she would never \
touch the lamp again. But the boats could not know where the rocks were, and no promise was worth three crews.
"""
QUESTIONS = {
    "repeating": (
        f"Repeat this code, but rename the function read_table to load_table everywhere:\n\n{CODE}",
        f"Write this code again, with a docstring in each function:\n\n{CODE}",
        f"Copy the following text word for word:\n\n{STORY}",
        "Correct the spelling in this text and give the whole text back:\n\n"
        + STORY.replace("promise", "promis").replace("window", "windw"),
    ),
    "ordinary": (
        "Explain why the sky is blue.",
        "Write a short story about a dragon who is afraid of fire.",
        "What are the main causes of the First World War?",
        "Give me a recipe for tomato soup.",
        "Describe how a bicycle stays upright.",
        "Write a Python function that checks whether a number is prime, and explain it.",
        "What should I see in Rome in three days?",
        "Tell me about the life of bees.",
    ),
}
TURN_TOKENS = 16


@dataclass
class Side:
    """One of the two engines, and the seconds and tokens that it was timed for."""

    model: tropilla.Model
    seconds: list[float] = field(default_factory=list)  # of each repeat
    tokens: list[int] = field(default_factory=list)  # of the last repeat

    def begin(self, question: str, sampling: Sampling) -> Iterator[TokenEvent]:
        """Read the question, and return the events after the first token."""
        engine = self.model.engine
        prompt = self.model.encode_chat([{"role": "user", "content": question}])
        events = engine.stream(engine.submit(prompt, token_sampling(sampling, self.model.tokenizer)))
        self.seconds.append(0.0)
        self.tokens = [token for token in [next(events).token_id] if token is not None]
        return events

    def take_turn(self, events: Iterator[TokenEvent]) -> bool:
        """Draw about TURN_TOKENS tokens; return whether there may be more."""
        until = len(self.tokens) + TURN_TOKENS
        start = time.perf_counter()
        for event in events:
            if event.token_id is not None:
                self.tokens.append(event.token_id)
            if len(self.tokens) >= until:
                break
        self.seconds[-1] += time.perf_counter() - start
        return len(self.tokens) >= until


def compare(sides: tuple[Side, Side], question: str, sampling: Sampling) -> None:
    """Have both sides answer in turns."""
    streams = [(side, side.begin(question, sampling)) for side in sides]
    while streams:
        streams = [(side, events) for side, events in reversed(streams) if side.take_turn(events)]
    assert sides[0].tokens == sides[1].tokens, "speculation changed the text"


def report(name: str, plain: Side, lookup: Side, proposed: int, accepted: int) -> None:
    n_each = len(plain.tokens) - 1
    n_tokens = n_each * len(plain.seconds)
    ratios = [a / b for a, b in zip(plain.seconds, lookup.seconds, strict=True)]
    print(
        f"{name.splitlines()[0]:44.44} {n_each:4} tokens  plain {n_tokens / sum(plain.seconds):6.1f}/s  "
        f"lookup {n_tokens / sum(lookup.seconds):6.1f}/s  x{statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})  accepted {accepted}/{proposed}"
    )


def measure(
    models: tuple[tropilla.Model, tropilla.Model], kind: str, sampling: Sampling, repeats: int
) -> None:
    """Print a line for each question, and one for all of them."""
    totals = []
    for question in QUESTIONS[kind]:
        sides = (Side(models[0]), Side(models[1]))
        before = models[1].stats.work
        for _ in range(repeats):
            compare(sides, question, sampling)
        work = models[1].stats.work
        report(
            question,
            *sides,
            work.proposed_tokens - before.proposed_tokens,
            work.accepted_tokens - before.accepted_tokens,
        )
        totals.append((sum(sides[0].seconds), sum(sides[1].seconds)))
    plain_s, lookup_s = map(sum, zip(*totals, strict=True))
    print(f"{kind}, temperature {sampling.temperature:g}: x{plain_s / lookup_s:.2f} in all\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("--tokens", type=int, default=200, help="longest answer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kind", choices=QUESTIONS, action="append", help="both if absent")
    parser.add_argument("--temperature", type=float, action="append", help="0 and 0.8 if absent")
    arguments = parser.parse_args()
    with (
        tropilla.load(arguments.model, context_length=2048, speculation="off") as plain,
        tropilla.load(arguments.model, context_length=2048, speculation="lookup") as lookup,
    ):
        print(f"{arguments.model}, {plain.stats.isa}, {plain.stats.threads} threads")
        for kind in arguments.kind or QUESTIONS:
            for temperature in arguments.temperature or (0.0, 0.8):
                sampling = Sampling(temperature=temperature, seed=3, max_tokens=arguments.tokens)
                measure((plain, lookup), kind, sampling, arguments.repeats)


if __name__ == "__main__":
    main()
