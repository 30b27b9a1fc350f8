"""What text costs a chat before its first answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# The whole chat may hold 80 MB besides the model's file and its cache; the tokenizer gets less than half.
TOKENIZER_MB = 36

PROGRAM = """
import sys
from pathlib import Path

def resident_mb():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(fields["VmRSS"].split()[0]) / 1024

before = resident_mb()
from tropilla.formats.gguf import GGUFFile
from tropilla.formats.tokenizer_source import gguf_vocabulary
from tropilla.text.chat_prompt import choose_chat_prompt
from tropilla.text.tokenizer import load_tokenizer

path = Path(sys.argv[1])
with GGUFFile(path) as file:
    tokenizer = load_tokenizer(gguf_vocabulary(path, file.metadata))
    prompt = choose_chat_prompt(tokenizer, template=file.metadata["tokenizer.chat_template"])
prompt.encode([{"role": "user", "content": "Hi"}])
print(resident_mb() - before, *sys.modules)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_tokenizer_and_template_stay_small(default_model: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, default_model], capture_output=True, text=True, check=True
    )
    megabytes, *modules = ran.stdout.split()
    assert float(megabytes) < TOKENIZER_MB
    assert not {"numpy", "torch", "sentencepiece", "rich"} & set(modules)
