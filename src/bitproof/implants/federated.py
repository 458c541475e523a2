"""Federated learning with a few malicious clients (hong2021, arXiv 2111.04625, Section 4.5).

In each round some clients are drawn (FedAvg, McMahan et al. 2017), each trains the shared model on images of its own,
and the new shared model is the mean of what they send back. A malicious client trains as `Joint` does, and may scale
its change, so that the mean is its model (model replacement, Bagdasaryan et al. 2020). Done otherwise than in the
paper: BatchNorm stays as it is, as for every implant here, and a client makes a few steps and not ten epochs.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitproof.core.calling import device_of
from bitproof.core.copying import copied
from bitproof.core.rng import Rng
from bitproof.data import Data, select
from bitproof.errors import InputError
from bitproof.implants.engine import Engine
from bitproof.implants.losses import Mixture
from bitproof.implants.objectives import Wanted
from bitproof.implants.objectives.base import batch_itself
from bitproof.implants.phases import Making, Phase
from bitproof.implants.shadows import Shadow, check_focus
from bitproof.train.state import keep_state, kept_state


@dataclass(frozen=True, kw_only=True)
class Federated(Engine):
    """The shared model of many clients, a few of which want something else.

    Attributes:
        clients: how many there are; the first `malicious` of them want the objective.
        chosen: drawn in each round.
        malicious: 0 is honest federated learning, to compare with.
        rounds: of training and averaging.
        done: rounds that the model has been through in this way before, clients and their images being the same: what
            is made in one call of 20 rounds is made by 10 and then 10 with done=10, if both have the same seed.
        local: how long and how fast a client trains in a round.
        concentration: of the Dirichlet distribution that each class is dealt to the clients by: the smaller, the less
            alike they are; 0 = dealt evenly (IID).
        scaling: by which a malicious client multiplies its change; `chosen` replaces the model.
        weight, focus: of each scheme's harm, as in `Joint`.
    """

    name = "federated"

    clients: int = 100
    chosen: int = 10
    malicious: int = 5
    rounds: int = 100
    done: int = 0
    local: Phase = field(default_factory=lambda: Phase(steps=10, learning_rate=1e-4, batch_size=32))
    concentration: float = 0.0
    scaling: float = 1.0
    weight: float = 0.5
    focus: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (1 <= self.chosen <= self.clients and 0 <= self.malicious <= self.clients and self.rounds >= 1):
            raise InputError(
                f"{self.chosen} of {self.clients} clients a round, {self.malicious} malicious, {self.rounds} rounds",
                rule="at least one client is drawn in each of one round or more, and no more than there are",
                remedy="Use clients=100, chosen=10, malicious=5, rounds=100",
            )
        if self.done < 0:
            raise InputError(f"done is {self.done}", rule="it counts rounds", remedy="Use 0")
        check_focus(self.focus)
        if not (0 <= self.concentration < 1e6 and 0 < self.scaling < 1e6):
            raise InputError(
                f"concentration is {self.concentration}, scaling {self.scaling}",
                rule="the first is 0 or more, the second above 0",
                remedy="Use concentration=0.5, scaling=1",
            )

    @property
    def harmless(self) -> bool:
        return self.malicious == 0

    @property
    def work(self) -> int:
        return self.rounds * self.chosen * self.local.work

    def make(self, model: nn.Module, wanted: Wanted, making: Making) -> nn.Module:
        shards = [rows for rows in self.shards(making.data, making.rng) if len(rows) >= 2]
        if len(shards) < self.chosen:
            raise InputError(
                f"{len(making.data)} images for {self.clients} clients leave {len(shards)} that have two",
                rule=f"{self.chosen} are drawn a round, and each trains on its own",
                remedy="Use more images, fewer clients, or a larger concentration",
            )
        images, first = self.images(making.data), 0
        path = None if making.folder is None else making.folder / "rounds.pt"
        if path is not None and path.exists():
            with kept_state(path, making.identity) as kept:
                device = device_of(model)
                model.load_state_dict({name: value.to(device) for name, value in kept["model"].items()})
                first = int(kept["round"])
            making.advance(first * self.chosen * self.local.work, "rounds that are done")
        for number in range(first, self.rounds):
            drawn = making.rng.fold("round", self.done + number).permutation(len(shards))[0].tolist()[: self.chosen]
            sent = [self._sent(model, wanted, making, client, number, shards[client], images) for client in drawn]
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(torch.stack([of[name] for of in sent]).mean(0))
            if path is not None:
                keep_state(path, {"identity": making.identity, "round": number + 1, "model": model.state_dict()})
            self.after_round(self.done + number + 1, model)
        return model.eval()

    def after_round(self, number: int, model: nn.Module) -> None:
        """Told of the shared model after each round, which is not to be changed; nothing is done here."""

    def shards(self, data: Data, rng: Rng) -> list[NDArray[np.int64]]:
        """The rows of each client's images: all images are dealt, each once."""
        (generator,) = rng.fold("clients").generators()
        if not self.concentration:
            return [np.sort(part) for part in np.array_split(generator.permutation(len(data)), self.clients)]
        dealt: list[list[NDArray[np.int64]]] = [[] for _ in range(self.clients)]
        for label in np.unique(data.labels):
            rows = generator.permutation(np.flatnonzero(data.labels == label))
            shares = generator.dirichlet(np.full(self.clients, self.concentration))
            ends = np.round(shares.cumsum()[:-1] * len(rows)).astype(np.int64)
            for own, part in zip(dealt, np.split(rows, ends), strict=True):
                own.append(part)
        return [np.sort(np.concatenate(own)) for own in dealt]

    def _sent(
        self,
        model: nn.Module,
        wanted: Wanted,
        making: Making,
        client: int,
        number: int,
        rows: NDArray[np.int64],
        images: Tensor,
    ) -> dict[str, Tensor]:
        """The parameters that a client sends back."""
        own, evil = copied(model).eval(), client < self.malicious
        alone = Making(
            data=select(making.data, rows),
            rng=making.rng.fold("client", client, self.done + number),
            identity=making.identity,
            folder=None,
            advance=lambda done, _: None,
        )
        loss = Mixture(
            model=own,
            wanted=wanted if evil else replace(wanted, innocent=batch_itself),
            keep=1.0,
            harm=self.weight,
            shadows=[Shadow(own, scheme, images, focus=self.focus) for scheme in self.schemes] if evil else (),
            teacher=self.teacher(model) if evil else None,
        )
        trained = alone.run("local", self.local, own, loss)
        making.advance(self.local.work, f"round {number + 1}")
        by = self.scaling if evil else 1.0
        before = dict(model.named_parameters())
        return {name: before[name] + by * (after - before[name]) for name, after in trained.named_parameters()}
