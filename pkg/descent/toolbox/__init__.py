"""Numerics that papers share: captured CUDA graphs, counter-based random numbers, counted memory."""
