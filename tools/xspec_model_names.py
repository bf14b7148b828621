"""Write the names and kinds of XSPEC's models, so that an unknown model can be told from a missing library.

    python tools/xspec_model_names.py

Needs the package ``xspectrampoline``.
"""

from __future__ import annotations

import json
from pathlib import Path

from crosscal.xray.emission.xspec_library import library

OUTPUT = Path(__file__).parents[1] / "src/crosscal/xray/emission/data/xspec_models.json"


def main() -> None:
    """Write the file."""
    names = {name: definition["type"] for name, definition in sorted(library().definitions.items())}
    OUTPUT.write_text(json.dumps(names, indent=0) + "\n")
    print(f"{OUTPUT}: {len(names)} models")


if __name__ == "__main__":
    main()
