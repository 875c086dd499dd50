"""The tools of this skill: one method for each export of `wit/world.wit`."""

from typing import Optional

import wit_world
from componentize_py_types import Err


class WitWorld(wit_world.WitWorld):
    def greet(self, name: str, times: Optional[int]) -> str:
        who = name.strip()
        if not who:
            # An `Err` fails the step with this value; another exception would be a trap.
            raise Err("nobody to greet")
        return " ".join([f"Good day, {who}."] * (1 if times is None else times))
