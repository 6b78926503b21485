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
  scanned and the one you deploy. Few or unusual clean images make every answer weaker. With images of fewer than
  five classes triggers cannot be compared with each other: few are found (3 of 22 backdoored networks, with 0 of 30
  clean ones alarming), and a silence is inconclusive. With five to seven outputs an alarm counts only beyond those
  of clean networks of as few: 10 of 19 backdoored networks are found, 1 of 30 clean ones raises a false alarm.

How often
  An alarm is `backdoor` or `suspicious` here; of 123 found, 116 were confirmed. All at the standard budget: quick has
  no rates, and misses triggers that standard finds.
  On networks that no rule was made on, with ten clean images a class: 8 of 101 clean ones raised a false alarm
  (95 % interval 4 to 15 %), 123 of 164 backdoored ones were found (68 to 81 %), 113 of them with the right target
  first. These are small networks on digits, MNIST, Fashion-MNIST, GTSRB and CIFAR-10. Found: blended 19 of 20,
  SIG 19 of 20, patches 20 of 21, filters and compression 16 of 21, warps 15 of 20, sample-specific and semantic
  16 of 21, all-to-all 7 of 9, with a condition beside the trigger (HCB) 5 of 11, from one source class 6 of 21;
  of an attacker who trained against our inversion 5 of 8, which are not in these rates. Of the clean ones that
  alarm four were trained on few or unbalanced images, with heavy augmentation or adversarially, and two are
  small residual networks on GTSRB. On Fashion-MNIST 8 of 42 alarms on backdoored networks name the bag,
  a wrong target. p-values are ranks among 101 clean reference networks, of which 3 alarm; rules were made with
  these in view. Each report names its references. Rules BD108 and BD109, on triggers from one source class, and BD110
  and BD113 to BD115 are newer, and BD106 and BD107 ask for more than they did: they are in none of these rates, and
  an alarm of a new one has no p-value. With them at least 9 of 99 references alarm. With two images a class 13 of
  the clean ones alarm, 14 end inconclusive, and 80 of the backdoored ones are found, hardly any all-to-all or from one
  source class.

What scanning does to your machine
  The model is opened in a worker process with limits on memory, time, files and environment. On Linux it also cannot
  open other files, run programs or reach the network; each report says what held. A file given with --arch
  file.py:factory is run as your own code: read it first. Nothing is ever sent over the network.
"""


def limits() -> None:
    typer.echo(TEXT, nl=False)
