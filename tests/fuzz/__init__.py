"""A byte-mutation fuzzer for everything that reads a model: `make fuzz`, or python -m tests.fuzz."""
