"""Deciding: estimates against criteria, families of p-values, three-valued rules, the verdict."""
