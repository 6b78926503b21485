"""A worker that answers at once: real frames on the real channel, without torch (`python -m quick_worker FD`)."""

from __future__ import annotations

import os
import sys
import threading
import time

import fake_report

from bdscan.jail.wire import Step, encode
from bdscan.settings import Settings


def main() -> None:
    channel = int(sys.argv[1])
    settings = Settings.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=lambda: sys.stdin.buffer.read(1) or os._exit(1), daemon=True).start()
    with os.fdopen(channel, "wb") as out:
        for share in range(6):
            out.write(encode(Step(stage="search", share=share / 5)))
            out.flush()
            time.sleep(3600 if os.path.basename(settings.model) == "hang" else 0.01)
        out.write(encode(fake_report.make(settings)))


if __name__ == "__main__":
    main()
