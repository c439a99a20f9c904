"""UCI Adult to LIBSVM's a5a and a5a.t: J. Platt's 123 binary features of the 32,561 training rows.

The recipe was worked out by us and gives LIBSVM's files exactly (up to the order of rows, which the tests check by a
hash that ignores it). Which rows are in a5a cannot be told from Adult: their positions are kept beside this file.
"""

from __future__ import annotations

import base64
import csv
from pathlib import Path

import numpy as np

from descent.data.formats import Rows, rows_from, svmlight_lines

N_FEATURES = 123
N_ROWS = 32_561
A5A_ROWS = Path(__file__).with_name("adult_rows_a5a.b64")

# Numbers: field of the file, first feature (1-based), and the values from which the next bin starts.
_BINS = {
    "age": (0, 1, (26, 33, 41, 50)),
    "fnlwgt": (2, 14, (106_648, 158_662, 196_338, 259_873)),  # its quintiles; a value on an edge goes up
    "education-num": (4, 35, (9, 10, 11, 13)),
    "capital-gain": (10, 74, (1,)),
    "capital-loss": (11, 76, (1,)),
    "hours-per-week": (12, 78, (35, 40, 41, 48)),
}

# Names: field of the file, first feature, and the values in the order in which UCI's adult.names lists them.
_VALUES = {
    "workclass": (
        1, 6,
        "Private, Self-emp-not-inc, Self-emp-inc, Federal-gov, Local-gov, State-gov, Without-pay, Never-worked",
    ),
    "education": (
        3, 19,
        "Bachelors, Some-college, 11th, HS-grad, Prof-school, Assoc-acdm, Assoc-voc, 9th, 7th-8th, 12th, Masters, "
        "1st-4th, 10th, Doctorate, 5th-6th, Preschool",
    ),
    "marital-status": (
        5, 40,
        "Married-civ-spouse, Divorced, Never-married, Separated, Widowed, Married-spouse-absent, Married-AF-spouse",
    ),
    "occupation": (
        6, 47,
        "Tech-support, Craft-repair, Other-service, Sales, Exec-managerial, Prof-specialty, Handlers-cleaners, "
        "Machine-op-inspct, Adm-clerical, Farming-fishing, Transport-moving, Priv-house-serv, Protective-serv, "
        "Armed-Forces",
    ),
    "relationship": (7, 61, "Wife, Own-child, Husband, Not-in-family, Other-relative, Unmarried"),
    "race": (8, 67, "White, Asian-Pac-Islander, Amer-Indian-Eskimo, Other, Black"),
    "sex": (9, 72, "Female, Male"),
    "native-country": (
        13, 83,
        "United-States, Cambodia, England, Puerto-Rico, Canada, Germany, Outlying-US(Guam-USVI-etc), India, Japan, "
        "Greece, South, China, Cuba, Iran, Honduras, Philippines, Italy, Poland, Jamaica, Vietnam, Mexico, Portugal, "
        "Ireland, France, Dominican-Republic, Laos, Ecuador, Taiwan, Haiti, Columbia, Hungary, Guatemala, Nicaragua, "
        "Scotland, Thailand, Yugoslavia, El-Salvador, Trinadad&Tobago, Peru, Hong, Holand-Netherlands",
    ),
}  # fmt: skip


def platt_features(text: str) -> Rows:
    """The n rows of adult.data as 123 binary features; a missing value ("?") sets none of its attribute's features."""
    table = np.array([[value.strip() for value in row] for row in csv.reader(text.splitlines()) if len(row) == 15])
    present = np.zeros((len(table), N_FEATURES + 1), dtype=bool)  # column 0 stays empty: features count from 1
    every = np.arange(len(table))
    for field, first, edges in _BINS.values():
        present[every, first + np.searchsorted(edges, table[:, field].astype(int), side="right")] = True
    for field, first, names in _VALUES.values():
        for offset, value in enumerate(names.split(", ")):
            present[table[:, field] == value, first + offset] = True
    return rows_from(present[:, 1:], np.where(table[:, 14] == ">50K", 1, -1))


def in_a5a() -> np.ndarray:
    """(32561,) bool: which rows of Adult LIBSVM's a5a holds; the others are a5a.t."""
    bits = np.frombuffer(base64.b64decode(A5A_ROWS.read_bytes()), dtype=np.uint8)
    return np.unpackbits(bits, count=N_ROWS).astype(bool)


def a5a_lines(text: str) -> tuple[list[bytes], list[bytes]]:
    """a5a and a5a.t as svmlight lines, both in Adult's order, from the text of adult.data.

    Raises ValueError when the text is not the 32,561 training rows.
    """
    lines = svmlight_lines(platt_features(text))
    if len(lines) != N_ROWS:
        raise ValueError(f"expected the {N_ROWS} training rows of Adult, got {len(lines)}")
    chosen = in_a5a().tolist()
    pairs = list(zip(lines, chosen, strict=True))
    return [line for line, yes in pairs if yes], [line for line, yes in pairs if not yes]
