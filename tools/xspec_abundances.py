"""Write the solar abundance tables that ship with CrossCal, from those of the XSPEC library.

    python tools/xspec_abundances.py

Needs the package ``xspectrampoline``. The numbers are those of the papers that the file names.
"""

from __future__ import annotations

import json
from pathlib import Path

import xspectrampoline

OUTPUT = Path(__file__).parents[1] / "src/crosscal/xray/emission/data/abundances.json"


def main() -> None:
    """Parse XSPEC's text file into JSON."""
    source = Path(xspectrampoline.get_HEADAS()) / "spectral/manager/abundances.dat"
    rows, _, references = source.read_text().partition("References:")
    tables = {}
    for line in rows.splitlines():
        name, colon, values = line.partition(":")
        if colon and name != "elts":
            tables[name] = [float(v) for v in values.split()]
    papers = {}
    for line in references.splitlines():
        name, colon, text = line.partition(":")
        if colon:
            papers[name] = text.strip()
    document = {name: {"reference": papers[name], "values": tables[name]} for name in tables}
    OUTPUT.write_text(json.dumps(document, indent=0) + "\n")
    print(f"{OUTPUT}: {', '.join(document)}")


if __name__ == "__main__":
    main()
