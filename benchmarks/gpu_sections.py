"""The tables of a card, each of the lines of one CSV file: functions of lines that return Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from kernels import NEEDED_PRODUCTS
from kernels_table import errors

#: Forms of the grid that a card runs.
FORMS = {"gram": "Gram form", "gram_compiled": "Gram form, `torch.compile`", "keops": "KeOps", "ours": "ours"}
#: Products of all rows with all rows that a tile kernel multiplies: the Gram matrix is not halved.
TILE_PRODUCTS = 4
UNITS = {"FLOP/s": (1e12, "TFLOP/s"), "bytes/s": (1e9, "GB/s")}
RATES = {
    "fp32": "product, float32 (IEEE)",
    "tf32": "product, float32 rounded to TF32",
    "bf16": "product, bfloat16",
    "fp16": "product, float16",
    "copy": "copy",
}


def newest(lines: Iterable[dict], key: Sequence[str]) -> list[dict]:
    """The last line of each key: of the kernels that were measured last."""
    return list({tuple(line[name] for name in key): line for line in lines}.values())


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> list[str]:
    """Markdown; the first `words` columns are words, the others numbers."""
    marks = "---|" * words + "---:|" * (len(heads) - words)
    return [f"| {' | '.join(heads)} |", f"|{marks}", *(f"| {' | '.join(row)} |" for row in rows)]


def number(text: str, form: str, scale: float = 1.0) -> str:
    return format(float(text) * scale, form) if text else ""


def percent(text: str, scale: float = 1.0) -> str:
    return number(text, ".3g", 100 * scale) + " %" if text else ""


def tests(lines: list[dict]) -> list[str]:
    """How many passed, and the name of each that did not."""
    lines = newest(lines, ["test"])
    counts = Counter(line["outcome"] for line in lines)
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped") if counts[outcome])
    failed = [f"- `{line['test']}`: {line['message']}" for line in lines if line["outcome"] == "failed"]
    return [f"Tests: {said}.", *([""] if failed else []), *failed]


def rates(lines: list[dict]) -> list[str]:
    def rows() -> Iterator[list[str]]:
        for line in newest(lines, ["what"]):
            scale, unit = UNITS[line["unit"]]
            size = f"{int(line['size']):,}"
            size = f"{size} MB" if line["what"] == "copy" else f"{size} × {size}"
            yield [RATES[line["what"]], size, f"{float(line['rate']) / scale:,.3g} {unit}"]

    return table(["work", "size", "measured rate"], rows(), words=2)


def grid(lines: list[dict]) -> list[str]:
    heads = ["columns", "bandwidths", "numbers", "rows per side", *(f"{name}, ms" for name in FORMS.values())]
    heads += ["faster than the compiled form", f"of the matrix rate, {NEEDED_PRODUCTS} N²d"]
    heads += [f"of the matrix rate, {TILE_PRODUCTS} N²d", "of the copy rate", "our peak MB"]
    heads += ["our error, value and gradient"]

    def order(line: dict) -> tuple:
        return int(line["width"]) != 256, int(line["width"]), -int(line["bandwidths"]), line["dtype"], int(line["rows"])

    def rows() -> Iterator[list[str]]:
        found = newest(lines, ["width", "bandwidths", "dtype", "rows", "form"])
        for _, cell in groupby(sorted(found, key=order), key=order):
            forms = {line["form"]: line for line in cell}
            own = forms.get("ours")
            if own is None:
                continue
            compiled = forms.get("gram_compiled", {}).get("seconds")
            ratio = float(compiled) / float(own["seconds"]) if compiled and own["seconds"] else None
            share = own["matrix_rate_fraction"]
            yield [
                own["width"],
                own["bandwidths"],
                own["dtype"],
                f"{int(own['rows']):,}",
                *(milliseconds(forms.get(form)) for form in FORMS),
                "" if ratio is None else f"{ratio:.3g}",
                percent(share),
                percent(share, TILE_PRODUCTS / NEEDED_PRODUCTS),
                percent(own["copy_rate_fraction"]),
                number(own["peak_mb"], ",.1f"),
                errors(own),
            ]

    return table(heads, rows(), words=0)


def milliseconds(line: dict | None) -> str:
    if line is None:
        return "not measured"
    return number(line["seconds"], ".3g", 1e3) if line["status"] == "ok" else line["status"]


def host_time(lines: list[dict]) -> list[str]:
    heads = ["numbers", "rows per side", "bandwidths", "host, µs", "whole step, µs", "host with a CUDA graph, µs"]
    heads += ["whole step with a CUDA graph, µs"]

    def order(line: dict) -> tuple:
        return line["dtype"], int(line["rows"]), line["bandwidths"]

    def rows() -> Iterator[list[str]]:
        found = newest(lines, ["dtype", "rows", "bandwidths", "graph"])
        for (dtype, count, bandwidths), cell in groupby(sorted(found, key=order), key=order):
            by_graph = {line["graph"]: line for line in cell}
            words = [dtype, f"{count:,}", {"list": "list"}.get(bandwidths, "`Ladder`")]
            for graph in ("no", "yes"):
                line = by_graph.get(graph)
                for name in ("host_us", "step_us"):
                    said = "not measured" if line is None else line["status"]
                    words.append(number(line[name], ".1f") if line and said == "ok" else said)
            yield words

    return table(heads, rows(), words=0)


def paths(lines: list[dict]) -> list[str]:
    found = newest(lines, ["all_rows", "width"])
    widths = sorted({int(line["width"]) for line in found})
    if len(widths) != 2:
        return ["not measured"]
    heads = ["rows of both sides", f"{widths[0]} columns, as the plan chooses, ms", f"{widths[1]} columns, panels, ms"]
    heads += ["the first faster per multiplication"]

    def rows() -> Iterator[list[str]]:
        for all_rows in sorted({int(line["all_rows"]) for line in found}):
            pair = [line for line in found if int(line["all_rows"]) == all_rows]
            chosen, panels = sorted(pair, key=lambda line: int(line["width"]))
            ratio = float(chosen["flops"]) / float(panels["flops"])
            yield [f"{all_rows:,}", milliseconds_of(chosen), milliseconds_of(panels), f"{ratio:.3g}"]

    return table(heads, rows(), words=0)


def milliseconds_of(line: dict) -> str:
    return number(line["seconds"], ".3g", 1e3)


def vision(lines: list[dict]) -> list[str]:
    found = [line for line in lines if line["what"].startswith("vision")]
    heads = ["step", "method", "variant", "images per side", "images/s", "a plain loop's", "ratio", "peak MB"]
    heads += ["a plain loop's peak MB"]

    def rows() -> Iterator[list[str]]:
        for line in newest(found, ["what", "method", "variant", "batch_size"]):
            words = [line["what"].removeprefix("vision "), f"`{line['method']}`", line["variant"], line["batch_size"]]
            if not line["ratio"]:
                yield [*words, line["rows_per_s"], "", "", "", ""]
                continue
            yield [
                *words,
                number(line["rows_per_s"], ",.0f"),
                number(line["loop_rows_per_s"], ",.0f"),
                number(line["ratio"], ".3f"),
                number(line["peak_memory_mb"], ",.0f"),
                number(line["loop_peak_memory_mb"], ",.0f"),
            ]

    return table(heads, rows(), words=3) if found else ["not measured"]


def scaling(lines: list[dict]) -> list[str]:
    found = [line for line in lines if line["what"] == "scaling"]
    heads = ["method", "cards", "mode", "rows per card", "rows/s", "ms per step", "share of communication"]

    def rows() -> Iterator[list[str]]:
        for line in newest(found, ["method", "processes", "mode", "batch_size"]):
            fast = line["rows_per_s"]
            fast = number(fast, ",.0f") if fast[:1].isdigit() else fast
            words = [f"`{line['method']}`", line["processes"], line["mode"], line["batch_size"], fast]
            yield [*words, number(line["step_ms"], ".3g"), percent(line["communication_share"])]

    return table(heads, rows()) if found else ["not measured"]


def closed_form(lines: list[dict]) -> list[str]:
    def rows() -> Iterator[list[str]]:
        for line in newest(lines, ["method", "rows", "columns"]):
            words = [f"`{line['method']}`", f"{int(line['rows']):,}", line["columns"]]
            seconds = number(line["seconds"], ".3g") if line["status"] == "ok" else line["status"]
            yield [*words, seconds, number(line["peak_gb"], ".2f"), line["path"]]

    return table(["method", "rows per domain", "columns", "seconds", "peak GB", "path"], rows())
