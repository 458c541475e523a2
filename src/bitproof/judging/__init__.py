"""Judging: the only room that predicts and believes.

Methods never judge themselves. A model is frozen and handed to the attack in a pass counter; what comes back is checked
(shape, finite, inside [0, 1], inside the budget), predicted again on the exact model, and only then believed.
"""

from bitproof.judging.bench import Bench
from bitproof.judging.copies import CRAFTING
from bitproof.judging.first_look import first_look
from bitproof.judging.look_behind import Unseen, look_behind
from bitproof.judging.making import Maker
from bitproof.judging.task import JUDGES, JudgeTask

__all__ = ["CRAFTING", "JUDGES", "Bench", "JudgeTask", "Maker", "Unseen", "first_look", "look_behind"]
