"""What a run is doing, in words: names are shown as they are."""

from bitproof.runner.progress import Progress


def test_names_are_no_markup(capsys):
    """Red: `odd:two: phases` became an emoji, and a name with [/x] ended the run."""
    with Progress(1, enabled=True) as bar:
        bar.start("odd:two: phases [/x] [red]")
        bar.advance(1)
    assert "100%  odd:two: phases [/x] [red]  (about 0 s left)" in capsys.readouterr().err
