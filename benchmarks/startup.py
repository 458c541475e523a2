"""Time until bitproof answers. Goals: `import bitproof` at most 0.3 s, `bitproof --help` at most 0.5 s.

python benchmarks/startup.py [REPEATS]      medians over fresh processes, files in the page cache
"""

import statistics
import subprocess
import sys
from pathlib import Path

from common import record, rotate


def main(repeats: int) -> None:
    python, command = sys.executable, Path(sys.executable).with_name("bitproof")
    alternatives = {
        "python": [python, "-c", "pass"],
        "import bitproof": [python, "-c", "import bitproof"],
        "bitproof --help": [str(command), "--help"],
    }
    runs = {
        name: lambda line=line: subprocess.run(line, check=True, capture_output=True)
        for name, line in alternatives.items()
    }
    times = {name: statistics.median(values) for name, values in rotate(runs, repeats=repeats).items()}
    goals = {"import bitproof": 0.3, "bitproof --help": 0.5}
    claims = {f"{name}, s": {"measured": round(times[name], 3), "goal": goal} for name, goal in goals.items()}
    claims["python alone, s"] = {"measured": round(times["python"], 3)}
    record("startup", claims, {"repeats": repeats})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
