# What lint.py needs to know about C and C++ text: code without comments and literals, and where
# functions begin and end. It reads by eye, not by grammar: clang-format has been there before.

import re

TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/'  # comments
    r'|R"([^()\\ ]*)\(.*?\)\1"'  # raw strings
    r'|"(?:\\.|[^"\\\n])*"'  # strings
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",  # characters, but not 1'000'000
    re.S,
)


def without_comments(text):
    """The same text, comments and literals blanked, every line still at its number."""

    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    return TOKEN.sub(blank, text)


def _kind(head, outer):
    """What a brace opens, told by what stands before it ('scope', 'function' or 'other')."""
    if re.search(r'\bnamespace\b|\bextern\s', head):
        return "scope"
    if outer not in ("scope", None):
        return "other"
    if re.search(r"\b(struct|class|union|enum)\b", head) and "(" not in head:
        return "scope"
    if "(" in head and not re.search(r"=\s*$", head):
        return "function"
    return "other"


def functions(text):
    """(name, first line, number of lines) of every function with a body."""
    code = without_preprocessor(without_comments(text))
    stack, head_start, found = [], 0, []
    for position, letter in enumerate(code):
        if letter == "{":
            head = code[head_start:position]
            kind = _kind(head, stack[-1][0] if stack else None)
            start = head_start + len(head) - len(head.lstrip())
            stack.append((kind, head, start))
        elif letter == "}" and stack:
            kind, head, start = stack.pop()
            if kind == "function":
                first = code.count("\n", 0, start) + 1
                last = code.count("\n", 0, position) + 1
                names = re.findall(r"([\w~:]+)\s*\(", head)
                found.append((names[0] if names else "?", first, last - first + 1))
        if letter in "{};":
            head_start = position + 1
    return found


def without_preprocessor(code):
    """Preprocessor lines blanked, with their continuations."""
    lines, inside = [], False
    for line in code.split("\n"):
        directive = inside or line.lstrip().startswith("#")
        inside = directive and line.endswith("\\")
        lines.append("" if directive else line)
    return "\n".join(lines)
