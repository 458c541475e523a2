"""The five papers whose tables are here: how they are cited."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Authors, title and place of a paper, and its number at arXiv."""

    authors: str
    title: str
    place: str
    arxiv: str

    @property
    def citation(self) -> str:
        """In one line."""
        return f"{self.authors}: {self.title}. {self.place}, arXiv {self.arxiv}"


PAPERS: dict[str, Paper] = {
    "bernhard2019": Paper(
        authors="R. Bernhard, P.-A. Moellic, J.-M. Dutertre",
        title="Impact of Low-bitwidth Quantization on the Adversarial Robustness for Embedded Neural Networks",
        place="Cyberworlds 2019",
        arxiv="1909.12741",
    ),
    "hong2021": Paper(
        authors="S. Hong, M.-A. Panaitescu-Liess, Y. Kaya, T. Dumitras",
        title="Qu-ANTI-zation: Exploiting Quantization Artifacts for Achieving Adversarial Outcomes",
        place="NeurIPS 2021",
        arxiv="2111.04625",
    ),
    "li2024": Paper(
        authors="Q. Li, Y. Meng, C. Tang, J. Jiang, Z. Wang",
        title="Investigating the Impact of Quantization on Adversarial Robustness",
        place="2024",
        arxiv="2404.05639",
    ),
    "lin2019": Paper(
        authors="J. Lin, C. Gan, S. Han",
        title="Defensive Quantization: When Efficiency Meets Robustness",
        place="ICLR 2019",
        arxiv="1904.08444",
    ),
    "xiao2023": Paper(
        authors="Y. Xiao, A. Liu, T. Zhang, H. Qin, J. Guo, X. Liu",
        title="RobustMQ: Benchmarking Robustness of Quantized Models",
        place="Visual Intelligence 1:30, 2023",
        arxiv="2308.02350",
    ),
}
