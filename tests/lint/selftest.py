#!/usr/bin/env python3
# A lint that finds nothing may be a lint that looks at nothing: builds a small tree with one breach
# of every rule and expects each to be named.

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

TREE = {
    "docs/architecture.md": "| room | runs in | may include | holds |\n|---|---|---|---|\n"
                            "| base | engine | - | x |\n| proc | engine | base | x |\n",
    "src/engine/base/good.cc": '// Fine.\n#include "base/good.h"\nint f() { return errno; }\n',
    "src/engine/proc/good.cc": '// errno here is only prose.\n#include "base/good.h"\n'
                               'const char* text() { return "errno"; }  // TODO: read it from the file\n',
    "src/engine/proc/head.cc": "int x;\n",
    "src/engine/proc/errno.cc": "// x\nint f() { return errno; }\n",
    "src/engine/proc/arch.cc": "// x\n#if defined(__x86_64__)\n#endif\n",
    "src/engine/proc/todo.cc": "// x\n// TODO fix\n",
    "src/engine/proc/long.cc": "// x\n" + "int x;\n" * 300,
    "src/engine/proc/function.cc": "// x\nnamespace n {\nvoid C::lengthy(int a) {\n" + "  a();\n" * 50 + "}\n}\n",
    "src/engine/base/include.cc": '// x\n#include "proc/maps.h"\n',
    "src/engine/nowhere/x.cc": "// x\n",
    "src/libcr/x.c": '// x\n#include "base/result.h"\n',
    "tests/e2e/place.py": "# x\np = '/home/" + "somebody/x'\n",
}
EXPECTED = [
    "src/engine/proc/head.cc:1: begin with a comment",
    "src/engine/proc/errno.cc:2: errno outside of base/",
    "src/engine/proc/arch.cc:2: a condition on the architecture",
    "src/engine/proc/todo.cc:2: TODO must say",
    "src/engine/proc/long.cc:301: 301 lines",
    "src/engine/proc/function.cc:3: note: C::lengthy has 52 lines",
    "src/engine/base/include.cc:2: room base may not include room proc",
    "src/engine/nowhere/x.cc:1: room 'nowhere' is not in the table",
    "src/libcr/x.c:2: room libcr may not include room base",
    "tests/e2e/place.py:2: '/home/" + "somebody/' is a place",
    "docs/limits.md:1: is missing",
    "docs/security.md:1: is missing",
]

with tempfile.TemporaryDirectory() as root:
    for path, text in TREE.items():
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        with open(os.path.join(root, path), "w", encoding="utf-8") as file:
            file.write(text)
    run = subprocess.run([sys.executable, os.path.join(HERE, "lint.py"), root],
                         capture_output=True, text=True)
problems = [f"not found: {line}" for line in EXPECTED if line not in run.stdout]
if f"{len(EXPECTED) - 1} breaches, 1 notes" not in run.stdout or run.returncode != 1:
    problems.append(f"not exactly the expected breaches (exit {run.returncode}):\n{run.stdout}{run.stderr}")
print("\n".join(problems) or "every rule bites")
sys.exit(1 if problems else 0)
