"""Durations in a form that people read."""


def duration(seconds: float) -> str:
    """Return a duration as minutes and seconds, 6:40, or with hours, 1:06:40."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
