"""descent: the methods of ten papers on gradient descent, and the engine that tests what the papers claim.

The rooms under `descent.papers` are usable as a library (torch and numpy alone); everything else runs, judges and
reports the study.
"""

__version__ = "0.1.0"
