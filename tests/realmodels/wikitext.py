"""The default model's perplexity on WikiText-2 with F32 weights, as transformers computes it.

`python -m tests.realmodels.wikitext` makes tests/golden/smollm2_wikitext.json anew, in a few minutes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from tests.conftest import REAL_DATA
from tests.realmodels.oracle import log_probabilities, transformers_model
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.hub.library import resolve
from tropilla.model.weights import load_weights
from tropilla.text.tokenizer import Tokenizer, load_tokenizer

WIKITEXT = Path(__file__).parents[1] / "golden" / "smollm2_wikitext.json"
WINDOW = 512
N_WINDOWS = 100
CHARS_PER_TOKEN = 6  # more than there are on average, so that the text suffices


def wikitext_windows(tokenizer: Tokenizer, real_data: Path) -> list[list[int]]:
    """Return the first N_WINDOWS windows of WINDOW tokens of the WikiText-2 test set."""
    text = (real_data / "bench" / "perplexity" / "wiki.test.raw").read_text("utf-8")
    token_ids = tokenizer.encode(text[: N_WINDOWS * WINDOW * CHARS_PER_TOKEN], add_bos=False)
    windows = [token_ids[i * WINDOW : (i + 1) * WINDOW] for i in range(N_WINDOWS)]
    assert len(windows[-1]) == WINDOW
    return windows


def digest(windows: list[list[int]]) -> str:
    """Return a hash of the tokens, so that results are compared on the same ones."""
    return hashlib.sha256(np.array(windows, "<i4").tobytes()).hexdigest()


def main() -> None:
    """Write the golden file."""
    import transformers

    with open_checkpoint(resolve("smollm2")) as checkpoint:
        assert checkpoint.tokenizer is not None
        windows = wikitext_windows(load_tokenizer(checkpoint.tokenizer), REAL_DATA)
        weights = load_weights(checkpoint)
        arrays = {name: tensor.to_float32() for name, tensor in weights.tensors.items()}
        model = transformers_model(weights.config, arrays)
    means = [float(np.mean(log_probabilities(model, window)[WINDOW // 2 :])) for window in windows]
    golden = {
        "provenance": (
            f"transformers {transformers.__version__}, LlamaForCausalLM in float32 on the dequantised "
            f"weights of SmolLM2-135M-Instruct Q4_1; WikiText-2 raw test, {N_WINDOWS} windows of {WINDOW} "
            "tokens, mean log p of the second half of each; made by python -m tests.realmodels.wikitext"
        ),
        "token_digest": digest(windows),
        "mean_logprobs": [round(mean, 6) for mean in means],
    }
    WIKITEXT.write_text(json.dumps(golden, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
