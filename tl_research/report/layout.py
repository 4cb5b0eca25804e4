"""A page of headings, paragraphs and tables, as aligned Markdown or LaTeX."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

#: Characters that a Markdown table may be wide before it is turned or split.
WIDTH = 150


@dataclass(frozen=True)
class Heading:
    """A heading; level 1 is the page's."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph or a list, its lines broken."""

    text: str


@dataclass(frozen=True)
class Grid:
    """A table: cells by row and column. `down` says what the rows are, `across` what the columns are."""

    down: str
    across: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    caption: str = ""

    def turned(self) -> Grid:
        """Return the table with rows and columns exchanged."""
        return Grid(self.across, self.down, self.rows, self.columns, tuple(zip(*self.cells)), self.caption)

    def width(self) -> int:
        """Characters of its longest Markdown line."""
        return max(map(len, _markdown_grid(self).split("\n")))


Block = Heading | Text | Grid


def paragraph(text: str) -> Text:
    """Return the text broken into lines that read well in an editor."""
    return Text(textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False))


def fitting(*candidates: Sequence[Grid]) -> list[Grid]:
    """Return the first candidate (one or several tables) within `WIDTH`, as it is or turned; else the narrowest."""
    options = []
    for grids in candidates:
        for turn in (False, True):
            option = [grid.turned() if turn else grid for grid in grids]
            widest = max(grid.width() for grid in option)
            if widest <= WIDTH:
                return option
            options.append((widest, option))
    return min(options, key=lambda pair: pair[0])[1]


def markdown(blocks: Sequence[Block]) -> str:
    """Return the page as Markdown that reads as plain text too."""
    return "\n\n".join(_markdown_block(block) for block in blocks) + "\n"


def _markdown_block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Text):
        return block.text
    return _markdown_grid(block)


def _markdown_grid(grid: Grid) -> str:
    lines = [(grid.down, *grid.columns), *((name, *cells) for name, cells in zip(grid.rows, grid.cells))]
    lines = [tuple(cell.replace("|", "\\|") for cell in line) for line in lines]
    widths = [max(3, *(len(line[at]) for line in lines)) for at in range(len(lines[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def written(cells: Sequence[str]) -> str:
        first, *others = cells
        aligned = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:]))]
        return f"| {' | '.join(aligned)} |"

    return "\n".join([written(lines[0]), f"| {' | '.join(rule)} |", *map(written, lines[1:])])


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "±": r"$\pm$", "▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$", "→": r"$\to$", "−": "$-$", "—": "---",
    "`": "",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Return the text with every character that LaTeX would take as a command written out."""
    return "".join(_LATEX.get(character, character) for character in text)


def latex(blocks: Sequence[Block]) -> str:
    """Return the page's tables as LaTeX floats; paragraphs and headings become comments."""
    parts = [r"% needs \usepackage{booktabs,amssymb}"]
    for block in blocks:
        if isinstance(block, Grid):
            parts.append(_latex_grid(block))
        else:
            parts.append("\n".join(f"% {line}".rstrip() for line in block.text.split("\n")))
    return "\n\n".join(parts) + "\n"


def _latex_grid(grid: Grid) -> str:
    def written(cells: Sequence[str]) -> str:
        # A row that begins with a bracket would be read as the argument of the line break before it.
        return " & ".join(f"{{{escape_latex(cell)}}}" if cell.startswith("[") else escape_latex(cell) for cell in cells)

    lines = [r"\begin{table}", r"\centering"]
    if grid.caption:
        lines.append(rf"\caption{{{escape_latex(grid.caption)}}}")
    lines += [rf"\begin{{tabular}}{{l{'r' * len(grid.columns)}}}", r"\toprule"]
    lines += [written((grid.down, *grid.columns)) + r" \\", r"\midrule"]
    lines += [written((name, *cells)) + r" \\" for name, cells in zip(grid.rows, grid.cells)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])
