"""The user's word for commands that draw: candidates run though nothing limits them here.

Who draws asks for it where it is needed (`studio.work.drawing.Drawing`, `WallsError`): the program that
reads the error asks the user, and gives the command again with `without_walls`.
"""

from __future__ import annotations


def agree(*, without_walls: bool) -> None:
    """Take the word that a command brings; it holds until this program ends."""
    if without_walls:
        from agent.sandbox import walls

        walls.agree()
