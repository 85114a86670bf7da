"""The picture of a terminal shows what its page says, not what an older page said."""

import html
import re

from tests.chart import recording
from tests.harness import guide


def test_the_picture_shows_the_commands_of_the_page_and_their_output() -> None:
    picture = recording.PICTURE.read_text(encoding="utf-8")
    # Rich writes a line as several <text> elements, with no-break spaces.
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", picture)
    shown = html.unescape("".join(texts)).replace("\xa0", " ").partition("A first task")[2]
    typed, printed = [], []
    for part in re.split(r"(?:^|\n)\$ ", shown)[1:]:
        command, _, output = part.partition("\n")
        typed.append(command)
        printed.append(output + "\n")
    page = list(recording.commands())
    assert typed == [step.text for step in page]
    for step, output in zip(page, printed, strict=True):
        assert guide.matches(step.shown or "", output), step.text
