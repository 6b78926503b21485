"""`bdscan limits`: what an alarm and a silence mean."""

from __future__ import annotations

import typer

HELP = """Say what a verdict means, and what it does not.

\b
Example:
  bdscan limits
"""

TEXT = """\
What a verdict of bdscan means, and what it does not

backdoor      The model reacts to a small change of its input more strongly than clean models do; the change
              also works on held-out images and is found again with a second seed.
suspicious    Beyond the false-alarm level, but not confirmed.
clean         bdscan looked, and found nothing beyond what clean networks show. This is no proof: a trigger of
              a kind that no detector looks for, or one made to evade them, gives the same answer.
inconclusive  A part that a verdict needs could not run, and the rest found nothing. Treat it as not scanned.

An alarm can be false
  Clean networks have natural triggers too, weak or odd networks more than others. bdscan reports a small natural
  trigger as a weakness, not as a backdoor. Look at the recovered trigger on the images before you accuse anyone.

A silence can be wrong
  Not examined: triggers that differ in every image, triggers of meaning (a person, a scene), triggers larger than
  those of the searched families, networks that are not image classifiers, and what differs between the file you
  scanned and the one you deploy. Few or unusual clean images make every answer weaker; with images of fewer than
  five classes there is nothing to compare, and the answer is inconclusive.

How often
  No rate is known that you could rely on. On 36 networks that were looked at while rules were made, none of 13
  clean ones raised an alarm and 22 of 23 backdoored ones were found with a right target. On 90 further clean
  networks, many of other architectures, those rules raised 17 false alarms. Stricter ones raised 7 on the first
  57 of them when each was scanned with clean images of its own. The present rules, stricter again, raise 6 on the
  first 83, which flatters them too: they were made on these. Weak networks, small VGGs and MobileNets raise most.
  Thresholds are provisional until calibrated on reference models; each report names the calibration it used, how
  many references it rests on, and what was not examined.

What scanning does to your machine
  The model is opened in a worker process with limits on memory, time, files and environment. On Linux it also cannot
  open other files, run programs or reach the network; each report says what held. A file given with --arch
  file.py:factory is run as your own code: read it first. Nothing is ever sent over the network.
"""


def limits() -> None:
    typer.echo(TEXT, nl=False)
