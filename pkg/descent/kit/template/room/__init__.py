"""TITLE (who, where it can be read).

On your own problem: `minimise`. The research code: the problem `Quadratic`, the method `heavy_ball` and its baseline `descend`.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.mypaper.descending import descend as descend
    from descent.papers.mypaper.momentum import heavy_ball as heavy_ball
    from descent.papers.mypaper.problem import Quadratic as Quadratic
    from descent.papers.mypaper.public import Result as Result
    from descent.papers.mypaper.public import minimise as minimise

__getattr__, __dir__, __all__ = exports(__name__)
