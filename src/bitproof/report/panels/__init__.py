"""The panels of a section, each a file and its template; records of any kind are drawn by the panel that asks for them.

Another panel is two files here and one line in `PANELS`: what follows from the section (its cells, or
`section.of(KIND)`), and the template that shows it.
"""

from bitproof.report.panels import (
    agreement,
    alignment,
    audit,
    by_layer,
    clusters,
    defences,
    distances,
    findings,
    gallery,
    layers,
    masking,
    matrix,
    metrics,
    plots,
    same_pixels,
    slices,
    table,
    transfers,
)
from bitproof.report.panels.base import Panel

PANELS: tuple[Panel, ...] = (
    audit.PANEL,
    findings.PANEL,
    matrix.PANEL,
    same_pixels.PANEL,
    plots.PANEL,
    metrics.PANEL,
    distances.PANEL,
    transfers.PANEL,
    defences.PANEL,
    masking.PANEL,
    layers.PANEL,
    alignment.PANEL,
    agreement.PANEL,
    by_layer.PANEL,
    slices.PANEL,
    clusters.PANEL,
    table.PANEL,
    gallery.PANEL,
)
"""In the order of the page."""

__all__ = ["PANELS", "Panel"]
