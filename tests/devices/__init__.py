"""Proofs that every method runs on any device, without one."""
