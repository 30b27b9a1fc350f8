"""Kernels: every instruction set against the definition and against float64."""
