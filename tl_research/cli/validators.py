"""The command `tl-research validators`."""

from __future__ import annotations


def validators(arguments) -> None:
    """Print how well each selection rule orders the epochs of runs with saved outputs.

    Raises:
        UserError: nothing is saved, or a file is damaged.
    """
    from rich.console import Console
    from rich.table import Table

    from tl_research.registry import RULES
    from tl_research.report.validators import qualities

    found = qualities(arguments.runs, arguments.metric)
    table = Table(title=f"{found[0].epochs} epochs, the best has {found[0].best:.3f}", title_justify="left")
    table.add_column("selection rule")
    for heading in ("rank correlation", "chosen", "less than the best"):
        table.add_column(heading, justify="right")
    for line in found:
        mark = " (sees target labels)" if RULES[line.rule].needs_target_labels else ""
        correlation = "" if line.correlation is None else f"{line.correlation:.2f}"
        table.add_row(line.rule + mark, correlation, f"{line.chosen:.3f}", f"{abs(line.best - line.chosen):.3f}")
    Console().print(table)
