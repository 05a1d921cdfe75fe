"""The command `skyduel calibrate`: bias, dark and flat for raw frames."""

from skyduel.cli.commands.calibrate.calibrate_frames import NAME, command

__all__ = ["NAME", "command"]
