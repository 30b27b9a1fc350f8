"""Tropilla: run, teach, judge and shrink LLaMA-family language models on your own machine."""

__version__ = "0.1.0"
