#!/usr/bin/env python3
"""Looks for draws of chance whose order is the compiler's: two arguments of one call, or two
values of one initializer, that both draw. A seed would name another world for each compiler.

Usage: draws.py FOLDER...
"""
import pathlib
import re
import sys

DRAW = re.compile(r"\b(rng_(next|below|permille)|world_(pick|chance)|fault_(host|duration)|random_id|delay_of|"
                  r"pick_\w+|draw_\w+)\s*\(")
LOCAL = r"""/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""


def blank(match):  # of comments and texts only the lines are left
    return re.sub(r"[^\n]", " ", match.group(0))


def groups(text):
    """Each list in parentheses or braces that holds no statements: where it begins, its elements."""
    open_at = []
    for i, c in enumerate(text):
        if c in "({":
            open_at.append((i, [i + 1]))
        elif c == "," and open_at:
            open_at[-1][1].append(i + 1)
        elif c in ")}" and open_at:
            start, commas = open_at.pop()
            ends = [at - 1 for at in commas[1:]] + [i]
            if text.find(";", start, i) < 0:
                yield start, [text[a:b] for a, b in zip(commas, ends)]


def main(folders):
    seen = found = 0
    for path in sorted(p for folder in folders for p in pathlib.Path(folder).rglob("*.[ch]")):
        text = re.sub(LOCAL, blank, path.read_text(encoding="utf-8"), flags=re.S)
        seen += len(DRAW.findall(text))
        for start, elements in groups(text):
            if sum(bool(DRAW.search(element)) for element in elements) > 1:
                found += 1
                print(f"{path}:{text.count(chr(10), 0, start) + 1}: which of these draws first?")
    print(f"{seen} draws, {found} lists with more than one")
    return 0 if seen > 50 and not found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
