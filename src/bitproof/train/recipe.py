"""What every way to train is: a setting that can be called."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from bitproof.attacks.checks import check_counts
from bitproof.core.calling import device_of, plain_context
from bitproof.core.copying import copied, moved
from bitproof.core.rng import Rng
from bitproof.data import Data
from bitproof.errors import InputError, lookup
from bitproof.quant.draws import seed_draws
from bitproof.settings import describe, digest
from bitproof.subjects.fingerprint import fingerprint
from bitproof.train.alarm import Alarm, Guard, remedies
from bitproof.train.augment import AUGMENTATIONS
from bitproof.train.batches import Batch, Batches, part, split, stratified
from bitproof.train.divergence import chance
from bitproof.train.loop import Advance, Minimised, OnEpoch, fit
from bitproof.train.objectives import CrossEntropy, Loss, Objective
from bitproof.train.optimisation import Optimisation
from bitproof.train.penalties import Penalty
from bitproof.train.quantization import Quantization
from bitproof.train.start import check_trainable
from bitproof.train.state import Position, Run, StateFile
from bitproof.train.teaching import check_start, has_random_weights, learns_from_model

PRECISIONS = ("float32", "bfloat16")


def _ignore(*_: Any) -> None:
    pass


@final
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A way to train: `recipe(model, data, seed=0)` is a trained copy of `model`.

    A model that is quantized already is trained as it is, quantizers and all, by a recipe without quantization.

    Attributes:
        optimisation: the optimiser, its schedule, and how long it runs.
        objective: what is minimised.
        penalties: what is added to it.
        quantization: how the copy is quantized before training, be its weights random or those of a checkpoint.
        averaging: decay of the moving average of the parameters, such as 0.999, which is then the result and what
            epochs are judged by; 0 = none (`bitproof.train.averaging`).
        augmentation: "none", or shifts of 4 pixels and mirroring: "crop-flip" over black, "crop-flip-reflect" over the
            image's own mirror image.
        share: the part of what is left that is trained on, a random one in which every class has its share; 1 = all.
        holdout: so many random examples are kept out of training; the result is the epoch that does best on
            them. 0 = the result is the last epoch.
        precision: "float32", or "bfloat16" for mixed precision where the hardware is faster at it.
        compiled: run the model through `torch.compile`.
        alarm: for catastrophic overfitting, where the objective is one that is prone to it; None = no alarm.

    Example:
        >>> import bitproof as bp
        >>> data = bp.load_data("digits", split="train", limit=64)
        >>> recipe = Recipe(
        ...     optimisation=Optimisation(epochs=1),
        ...     quantization=Quantization(scheme=bp.Scheme("lsq", weight_bits=4, act_bits=4)),
        ... )
        >>> recipe.label
        'cross-entropy, 1 epoch of adamw, lsq w4a4'
        >>> recipe(bp.load_model("digits_cnn"), data, seed=0).scheme.label
        'lsq w4a4'
    """

    optimisation: Optimisation = field(default_factory=Optimisation)
    objective: Objective = field(default_factory=CrossEntropy)
    penalties: tuple[Penalty, ...] = ()
    quantization: Quantization | None = None
    averaging: float = 0.0
    augmentation: str = "none"
    share: float = 1.0
    holdout: int = 0
    precision: str = "float32"
    compiled: bool = False
    alarm: Alarm | None = field(default_factory=Alarm)

    def __post_init__(self) -> None:
        lookup(AUGMENTATIONS, self.augmentation, "augmentation")
        lookup(dict.fromkeys(PRECISIONS), self.precision, "precision")
        check_counts(self, "holdout", least=0)
        if not isinstance(self.alarm, Alarm | None):
            raise InputError(
                f"alarm is {self.alarm!r}", rule="it is an Alarm or None", remedy="Use bp.train.Alarm(every=20)"
            )
        if not 0 < self.share <= 1:
            raise InputError(
                f"share is {self.share}", rule="it is the part of the data to train on", remedy="Use 0.01, 0.1 or 1"
            )
        if not 0 <= self.averaging < 1:
            raise InputError(
                f"averaging is {self.averaging}",
                rule="it is the part of the average that each step keeps",
                remedy="Use a number in [0, 1), such as 0.999",
            )

    @property
    def label(self) -> str:
        """Short form for people."""
        epochs = self.optimisation.epochs
        parts = [self.objective.label, f"{epochs} epoch{'s' * (epochs > 1)} of {self.optimisation.optimizer}"]
        return ", ".join(parts + ([self.quantization.scheme.label] if self.quantization else []))

    def work(self, count: int) -> int:
        """How many examples pass through the model in training on `count` ones, for progress bars."""
        return self.optimisation.epochs * self.optimisation.replays * part(count - self.holdout, self.share)

    @plain_context()
    def __call__(
        self,
        model: nn.Module,
        data: Data,
        *,
        seed: int = 0,
        rng: Rng | None = None,
        teacher: nn.Module | None = None,
        state: Path | None = None,
        advance: Advance = _ignore,
        on_epoch: OnEpoch = _ignore,
    ) -> nn.Module:
        """A trained copy of `model`, in eval mode, on the device that `model` is on.

        Args:
            model: what training starts from; it is not changed.
            data: the training examples.
            seed: of all randomness.
            rng: keyed by one id, the run; instead of a seed.
            teacher: what an objective that learns from a model learns from; None = from `model`, which then has to be
                trained.
            state: a file that keeps the state of the run. A run that was stopped, even killed, goes on from it
                and ends with the same weights as one that was not.
            advance: called with the number of examples done and a few words on how it goes.
            on_epoch: called after every epoch, and once for a run that is done already, with the records of all epochs
                so far and the model, in eval mode.

        Raises:
            InputError: fewer examples than the recipe needs, a model that cannot be trained on them
                (`bitproof.train.start`), a state of another run, or an objective that would learn from a start that
                guesses.
            Diverged: a loss that is no longer finite, or accuracy at chance for `PATIENCE` epochs; it has the last
                sound model.
        """
        rng = Rng.of_run(seed, rng)
        train, holdout = split(len(data), self.holdout, rng)
        train = stratified(data.labels, train, self.share, rng)
        start = copied(model)
        if teacher is None and learns_from_model(self.objective):
            check_start(start.eval(), data, train, self.objective.label)
        taught = start if teacher is None else moved(teacher, device_of(start))
        loss = self.objective.start(taught)
        after = [other.start(taught) for other in remedies(self.objective)] if self.alarm else []
        student = self.quantization(start, data, rng) if self.quantization else start
        if has_random_weights(student):
            student.origin = None  # pyright: ignore - they do not stay random
        student.to(memory_format=torch.channels_last)  # pyright: ignore - a tenth faster on a CPU
        check_trainable(student, data)
        seed_draws(student, rng)
        learned_from = fingerprint(teacher) if teacher is not None else None
        run_id = (rng.seed, rng.path, rng.ids.tolist())
        identity = digest(describe(self, sources=True), data.fingerprint, run_id, fingerprint(student), learned_from)
        batches = Batches(
            data=data,
            train=train,
            holdout=holdout,
            how=self.optimisation,
            augmentation=self.augmentation,
            rng=rng,
            device=device_of(student),
        )
        run = self._run(student, loss, int(data.labels.max()) + 1)
        return fit(
            run,
            batches,
            self._minimised(run, [loss, *after]),
            average=self.averaging,
            guard=self._guard(batches, len(after)),
            stuck=chance(data.labels[train]),
            file=StateFile(state, identity),
            advance=advance,
            on_epoch=on_epoch,
        )

    def _run(self, model: nn.Module, loss: Loss, classes: int) -> Run:
        """A run at its beginning, on labels of so many classes."""
        objective = loss if isinstance(loss, nn.Module) else nn.Module()
        average = {name: value.detach().clone() for name, value in model.named_parameters()} if self.averaging else {}
        return Run(
            model=model,
            objective=objective,
            optimizer=self.optimisation.start(model, objective.parameters()),
            now=Position.first(classes, device_of(model), average),
        )

    def _guard(self, batches: Batches, count: int) -> Guard | None:
        """What watches the run, with `count` remedies: on held-out examples, else on the first ones of training."""
        single = self.objective.one_step
        if self.alarm is None or single is None:
            return None
        rows = (batches.holdout if len(batches.holdout) else batches.train)[: self.alarm.images]
        return Guard(
            alarm=self.alarm,
            eps=single.eps,
            remedies=count,
            inputs=batches.data.images(rows).to(batches.device),
            labels=torch.from_numpy(batches.data.labels[rows]).to(batches.device),
            rng=Rng(batches.rng.seed, batches.data.ids[rows], (*batches.rng.path, "alarm")),
        )

    def _minimised(self, going: Run, losses: Sequence[Loss]) -> Minimised:
        """The loss in use, the first or that after as many alarms, and all penalties, as a function of the batch."""
        model = going.model
        device = device_of(model).type
        run: nn.Module = torch.compile(model) if self.compiled else model  # pyright: ignore

        def minimised(batch: Batch, rng: Rng) -> tuple[Tensor, Tensor]:
            with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bfloat16"):
                value, logits = losses[len(going.now.alarms)](run, batch, rng)
            for penalty in self.penalties:
                value = value + penalty(model)
            return value, logits

        return minimised
