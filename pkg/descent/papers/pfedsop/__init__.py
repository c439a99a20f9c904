"""Personalised federated learning with a second-order step (Sen and Krishna Mohan, arXiv 2506.07159).

On one's own problem: `train` (client data sets and an nn.Module in, a model a client out) and `personalise` (the client's half of
a round, for a federated loop of one's own). On the batched core: the methods `pfedsop`, `carry`, `local`, `fedavg`, `fedavg_ft`,
`fedprox`, `ditto`, `fedrep`, `pfedme` and `fedala`, each a builder from a `Federation` and its settings to a Method; the
networks `Mlp` and `Cnn`, rows of models; `Rounds`, who takes part and on which minibatches.
"""

from typing import TYPE_CHECKING

from descent.core.public import exports

if TYPE_CHECKING:
    from descent.papers.pfedsop.adaptive import fedala as fedala
    from descent.papers.pfedsop.averaging import (
        fedavg as fedavg,
    )
    from descent.papers.pfedsop.averaging import (
        fedavg_ft as fedavg_ft,
    )
    from descent.papers.pfedsop.averaging import (
        fedprox as fedprox,
    )
    from descent.papers.pfedsop.averaging import (
        local as local,
    )
    from descent.papers.pfedsop.convolution import Cnn as Cnn
    from descent.papers.pfedsop.federation import Federation as Federation
    from descent.papers.pfedsop.network import Mlp as Mlp
    from descent.papers.pfedsop.public import (
        PersonalModels as PersonalModels,
    )
    from descent.papers.pfedsop.public import (
        personalise as personalise,
    )
    from descent.papers.pfedsop.public import (
        train as train,
    )
    from descent.papers.pfedsop.regularised import ditto as ditto
    from descent.papers.pfedsop.regularised import pfedme as pfedme
    from descent.papers.pfedsop.rounds import Rounds as Rounds
    from descent.papers.pfedsop.second_order import carry as carry
    from descent.papers.pfedsop.second_order import pfedsop as pfedsop
    from descent.papers.pfedsop.split_model import fedrep as fedrep

__getattr__, __dir__, __all__ = exports(__name__)
