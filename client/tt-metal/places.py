# SPDX-License-Identifier: Apache-2.0
"""Where the lines of `integrate` belong in TT-Metal's files, and the lines."""
import re

BUFFER = "tt_metal/impl/buffers/buffer.cpp"
BUILD = "tt_metal/impl/CMakeLists.txt"
SOURCES = "tt_metal/impl/sources.cmake"

# The lines, and how they are known again, whatever their indentation.
INCLUDE = '#include "ttmem_tt_metal.hpp"  // ttmem'
BEFORE = "ttmem::metal::Allocation ttmem_allocation(*this);  // ttmem"
BEHIND = "ttmem_allocation.succeeded({address});  // ttmem"
FREED = "ttmem::metal::buffer_freed(*this);  // ttmem"
CMAKE = ('include("{path}/ttmem.cmake")  # ttmem', "ttmem_add_to({target})  # ttmem")
OURS = re.compile(
    r"[ \t]*(?:"
    r'#include "ttmem_tt_metal\.hpp"  // ttmem|'
    r"ttmem::metal::Allocation ttmem_allocation\(\*this\);  // ttmem|"
    r"ttmem_allocation\.succeeded\([^()\n]*\);  // ttmem|"
    r"ttmem::metal::buffer_freed\(\*this\);  // ttmem|"
    r'include\("[^"\n]*/ttmem\.cmake"\)  # ttmem|'
    r"ttmem_add_to\([^()\n]*\)  # ttmem"
    r")\r?")


class Unfit(Exception):
    """The checkout is not as expected. The text says what, and in which file."""


# --- C++, as far as needed ----------------------------------------------------------------------

TOKEN = re.compile(
    r'//(?:[^\\\n]|\\\r?\n|\\)*'                              # comments
    r'|/\*.*?(?:\*/|\Z)'
    r'|(?<![A-Za-z0-9_])(?:u8|[uUL])?R"(?P<mark>[^()\\\s"]*)\(.*?(?:\)(?P=mark)"|\Z)'
    r'|"(?:[^"\\\n]|\\.)*"?'                                  # strings
    r"|(?<![A-Za-z0-9_])(?:u8|[uUL])?'(?:[^'\\\n]|\\.)*'?"    # characters, but not 1'000
    r"|\\\r?\n", re.S)
DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*(\w*)[^\n]*", re.M)


def blank(match):
    """As many characters, none of which means anything: not even the ends of lines."""
    return " " * len(match[0])


def code_of(text):
    """The text with comments, strings and directives blanked, and its directives.

    Positions stay what they are. A directive is (position of its end, its name).
    """
    text = TOKEN.sub(blank, text)
    directives = [(m.end(), m[1]) for m in DIRECTIVE.finditer(text)]
    return DIRECTIVE.sub(blank, text), directives


def closing(code, at, what):
    """The position of the bracket that closes the one at a position."""
    pairs, stack = {")": "(", "}": "{", "]": "["}, []
    for i in range(at, len(code)):
        char = code[i]
        if char in "({[":
            stack.append(char)
        elif char in pairs:
            if stack.pop() != pairs[char]:
                break
            if not stack:
                return i
    raise Unfit(f"{what}: the brackets do not match")


def bodies_of(code, name):
    """Where the bodies of a member function of Buffer are: (opening brace, closing brace)."""
    found = []
    pattern = r"(?<![\w.>~])((?:::\s*)?(?:\w+\s*::\s*)*)Buffer\s*::\s*" + name + r"\s*\("
    for match in re.finditer(pattern, code):
        if match[1].strip() and not re.search(r"\btt_metal\s*::\s*\Z", match[1]):
            continue
        end = closing(code, match.end() - 1, f"{BUFFER}: Buffer::{name}()")
        rest = re.compile(r"\s*(?:(?:const|noexcept|override|final)\b\s*)*\{").match(code, end + 1)
        if rest:
            brace = rest.end() - 1
            found.append((brace, closing(code, brace, f"{BUFFER}: Buffer::{name}()")))
    return found


def body_of(code, name):
    bodies = bodies_of(code, name)
    if len(bodies) != 1:
        raise Unfit(f"{BUFFER}: expected one definition of Buffer::{name}(), found {len(bodies)}")
    return bodies[0]


def statement_at(code, position, inside, what):
    """The statement around a call: (start, end, text). It must stand alone, on lines of its own."""
    start = max(code.rfind(char, inside[0], position) for char in ";{}") + 1
    start += len(code[start:]) - len(code[start:].lstrip())
    depth, end = 0, position
    while depth or code[end] != ";":
        depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(code[end], 0)
        end += 1
        if depth < 0 or end >= inside[1]:
            raise Unfit(f"{what} is not a statement of its own")
    text = code[start:end]
    line_start, line_end = code.rfind("\n", 0, start) + 1, (code + "\n").find("\n", end)
    if re.match(r"(?:if|else|for|while|do|switch|case|default|return|try)\b", text):
        raise Unfit(f"{what} is not a statement of its own: it starts with "
                    f"'{text.split(None, 1)[0]}'")
    if code[line_start:start].strip() or code[end + 1:line_end].strip():
        raise Unfit(f"{what} shares its line with other code")
    return start, end, text


def the_call(code, bodies, name, what):
    """The statement of the one call, in one of some bodies, of a function known by two names."""
    pattern = re.compile(r"(?<!\w)(?:" + name + "_buffer|" + name.title() + r"Buffer)\s*\(")
    calls = [(match.start(), body) for body in bodies for match in pattern.finditer(code, *body)]
    if len(calls) != 1:
        raise Unfit(f"{what}: expected one, found {len(calls)}")
    return statement_at(code, *calls[0], what)


class Additions:
    """Whole lines that come into a text. Positions are those of the text before."""

    def __init__(self, text, code):
        self.text, self.code, self.lines = text, code, []

    def before(self, position, line):
        """Before the line of a position, and indented like it. Returns the indentation."""
        start = self.code.rfind("\n", 0, position) + 1
        indent = re.compile(r"[ \t]*").match(self.text, start)[0]
        self.lines.append((start, indent + line))
        return indent

    def behind(self, position, indent, line):
        """Behind the line of a position, and behind the comment that starts in it."""
        self.lines.append((self.code.find("\n", position) + 1 or len(self.text), indent + line))

    def done(self):
        """Lines end as the line before them does. If that does not end, neither does the last."""
        text = self.text
        self.lines.sort(key=lambda addition: addition[0])
        for where, line in reversed(self.lines):  # the order of those at one place is kept
            if self.text[:where].endswith("\n"):
                newline = "\r\n" if self.text[:where].endswith("\r\n") else "\n"
                text = text[:where] + line + newline + text[where:]
            else:
                newline = "\r\n" if "\r\n" in self.text else "\n"
                text = text[:where] + newline + line + text[where:]
        return text


def add_to_buffer(text):
    code, directives = code_of(text)
    what = f"{BUFFER}: the call of allocate_buffer() in Buffer::allocate_impl()"
    allocate = body_of(code, "allocate_impl")
    start, end, statement = the_call(code, [allocate], "allocate", what)
    address = re.match(r"(?:[\w:<>&*]+\s+)*?((?:this\s*->\s*)?[A-Za-z_]\w*)\s*=(?!=)", statement)
    if not address:
        raise Unfit(f"{what}: its result is not assigned to a variable")

    what = f"{BUFFER}: the call of deallocate_buffer() in Buffer::deallocate() or deallocate_impl()"
    bodies = [body_of(code, "deallocate")]
    if bodies_of(code, "deallocate_impl"):  # in some releases it has what the other one had
        bodies.append(body_of(code, "deallocate_impl"))
    if any(allocate[0] < body[0] < allocate[1] for body in bodies):
        raise Unfit(f"{BUFFER}: Buffer::allocate_impl(): the brackets do not match")
    free_start = the_call(code, bodies, "deallocate", what)[0]

    additions = Additions(text, code)
    additions.behind(last_include(directives, allocate[0]), "", INCLUDE)
    indent = additions.before(start, BEFORE)
    additions.behind(end, indent, BEHIND.format(address=re.sub(r"\s", "", address[1])))
    additions.before(free_start, FREED)
    return additions.done()


def last_include(directives, before):
    """Where the last one ends that no #if encloses."""
    depth, found = 0, None
    for end, name in directives:
        if end > before:
            break
        depth += {"if": 1, "ifdef": 1, "ifndef": 1, "endif": -1}.get(name, 0)
        if name == "include" and depth == 0:
            found = end
    if found is None:
        raise Unfit(f"{BUFFER}: no #include outside of #if")
    return found


# --- CMake, as far as needed --------------------------------------------------------------------

CMAKE_TOKEN = re.compile(
    r"#\[(?P<c>=*)\[.*?(?:\](?P=c)\]|\Z)|#[^\n]*|\[(?P<b>=*)\[.*?(?:\](?P=b)\]|\Z)"
    r'|"(?:[^"\\]|\\.)*"?', re.S)


def cmake_code_of(text):
    """Comments blanked; strings keep what they say, but for what could be taken for brackets."""
    def clean(match):
        if match[0][0] == "#":
            return blank(match)
        return re.sub(r'[()#\n"\s]', " ", match[0])
    return CMAKE_TOKEN.sub(clean, text)


def commands_of(code, names, path):
    """Calls of some commands: (name, arguments, position of the closing bracket)."""
    for match in re.finditer(r"(?<![\w$])(" + "|".join(names) + r")[ \t]*\(", code, re.I):
        end = closing(code, match.end() - 1, f"{path}: {match[1]}()")
        yield match[1].lower(), code[match.end():end].split(), end


def add_to_build(text, sources, ours):
    """In the list of which variables is buffer.cpp, and which target is made of one of them?"""
    is_buffer = re.compile(r"(?:.*/)?buffers/buffer\.cpp")
    variables = set()
    for path, content in ((BUILD, text), (SOURCES, sources)):
        for name, arguments, _ in commands_of(cmake_code_of(content), ["set", "list"], path):
            if any(is_buffer.fullmatch(argument) for argument in arguments):
                variables.add(arguments[1 if name == "list" else 0])
    targets = []
    code = cmake_code_of(text)
    for _, arguments, end in commands_of(code, ["add_library", "target_sources"], BUILD):
        wanted = {f"${{{variable}}}" for variable in variables}
        if any(a in wanted or is_buffer.fullmatch(a) for a in arguments[1:]):
            targets.append((arguments[0], end))
    if len({target for target, _ in targets}) != 1:
        raise Unfit(f"{BUILD}: expected one target that is made of buffers/buffer.cpp, found "
                    f"{len(targets)}")
    target, end = targets[-1]
    if not re.fullmatch(r"[\w.+-]+", target):
        raise Unfit(f"{BUILD}: the name of the target is not plain: {target}")
    additions = Additions(text, code)
    if code[end + 1:(code + "\n").find("\n", end)].strip():
        raise Unfit(f"{BUILD}: there is more on the line where the sources of {target} end")
    for line in CMAKE:
        additions.behind(end, "", line.format(path=cmake_quoted(ours), target=target))
    return additions.done()


def cmake_quoted(path):
    if re.search(r'["\n\r]', path):
        raise Unfit(f"CMake cannot have a path like this: {path!r}")
    return re.sub(r"([\\$;])", r"\\\1", path)
