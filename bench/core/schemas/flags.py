"""What the soundness flags of a run mean: the words that the command line and the pages share."""

from __future__ import annotations

from typing import NamedTuple

INFEASIBLE_SHARE = 0.05
UNDEFINED_SHARE = 0.01
VANISHED_SHARE = 0.05
DISAGREEING_SHARE = 0.01
SURROGATE_CORRELATION = 0.9
MAP_CONTRAST = 0.01
TIED_SHARE = 0.1
COLLAPSED_SHARE = 0.1
MATERIAL = 0.02
"""Difference of two means of a primary metric that is worth a flag: 1 % of the range of Kendall's tau, from -1 to 1.

It is twice what the mean of a second run of the same spec may differ by (`bench.checks.second_run.MEAN_TOLERANCE`).
"""


LESS = f"image by image, by more than {MATERIAL:g} in the mean and with a 95 % interval above zero"


class Meaning(NamedTuple):
    """The reader's side of a flag."""

    raised_if: str
    means: str
    remedy: str


MEANINGS: dict[str, Meaning] = {
    "partial": Meaning(
        "fewer samples were run than the protocol holds",
        "the interval is wider, and the run is not ranked",
        "run again without --limit; finished samples are kept",
    ),
    "off-protocol": Meaning(
        "the attack, one of its parameters, the radius or the surrogate is not the protocol's",
        "the number cannot be compared with the board's",
        "run again without --set, --epsilon and --beta",
    ),
    "random-beats-attack": Meaning(
        "the floor attack, which knows nothing, ends as low in the primary metric as an attack with gradients, or "
        "lower; not where nothing moved under either, which has a flag of its own",
        "the attack failed (masked gradients, perhaps), and the score says nothing about robustness",
        "try another surrogate sharpness, more steps or restarts",
    ),
    "infeasible-share": Meaning(
        f"for more than {INFEASIBLE_SHARE:.0%} of the samples every iterate changed the class",
        "these samples count as not moved, so the model looks more robust than it is",
        "read the score with the infeasible count beside it",
    ),
    "undefined-metric": Meaning(
        f"the primary metric is undefined for more than {UNDEFINED_SHARE:.0%} of the samples (constant heatmaps)",
        "a constant map cannot be ranked; the mean is over the other samples",
        "look at the model's heatmaps",
    ),
    "nothing-moved": Meaning(
        "pixels changed, but every sample has the same value of the primary metric",
        "a constant-gradient model, or an attack without a gradient: perfect robustness of this kind is trivial",
        "compare with random noise, and read accuracy and faithfulness beside it",
    ),
    "vanishing-gradient": Meaning(
        f"more than {VANISHED_SHARE:.0%} of the attack's gradients are zero, not finite, or too small to move its loss",
        "the search was blind: the score says nothing about robustness",
        "audit the model (`bench audit`): another surrogate sharpness, or the black-box control",
    ),
    "surrogate-differs": Meaning(
        f"the smooth surrogate predicts another class for more than {DISAGREEING_SHARE:.0%} of the clean images, or "
        f"its heatmaps correlate below {SURROGATE_CORRELATION:g} with the network's",
        "the attack climbed another network's map, and may be weaker than it looks",
        "audit the model over the surrogate's sharpness; a larger one is more faithful",
    ),
    "constant-map": Meaning(
        f"for more than {UNDEFINED_SHARE:.0%} of the clean images the heatmap varies by less than {MAP_CONTRAST:.0%} "
        "of its mean",
        "the order of its pixels is rounding error: a map that shows nothing can be perfectly robust",
        "look at the model's heatmaps, and read accuracy and faithfulness beside the score",
    ),
    "tied-map": Meaning(
        f"for more than {TIED_SHARE:.0%} of the clean images, more than {TIED_SHARE:.0%} of the heatmap's pixels have "
        "exactly the value of another one",
        "these pixels have no order of their own: among equals the top k goes by index, and a rank correlation falls "
        "as soon as an attack breaks the ties, however little moves",
        "read cosine and mass center beside it, and compare with random noise; black pixels tie under methods that "
        "multiply by the image",
    ),
    "not-repeatable": Meaning(
        "asking about the same clean image twice gave two answers or two heatmaps",
        "the model draws random numbers or keeps a state, so that noise and attack cannot be told apart",
        "put dropout and sampling out of the evaluated model",
    ),
    "confidence-collapse": Meaning(
        f"for more than {COLLAPSED_SHARE:.0%} of the samples the attack took more than half of the predicted class's "
        "probability",
        "the class is kept, but barely: part of the damage is a change of the decision and not of its explanation",
        "read the score with the change of confidence beside it",
    ),
    "probabilities": Meaning(
        "every answer of the model is non-negative and sums to 1: probabilities, not logits",
        "a softmax saturates, and its gradients, which are the explanations, vanish with the confidence",
        "hand in the logits before the softmax",
    ),
    "projection-needed": Meaning(
        "the attack proposed images outside the ball or the pixel range, and the judge moved them back",
        "what was judged is not what the attack searched",
        "let the attack project its iterates",
    ),
    "black-box-beats-white-box": Meaning(
        "an attack without the model's gradients, a black-box one or one crafted on another model, leaves the map less "
        f"robust than every attack with them, {LESS}",
        "the gradients are masked: the scores under white-box attacks are too good",
        "try another surrogate sharpness, and report the black-box or transferred number",
    ),
    "not-falling-with-steps": Meaning(
        f"over the sweep, more steps leave the map more robust, {LESS}, or most steps surely leave it as robust as "
        "fewest",
        "the search does not find its way, so that its result is no worst case",
        "try another step size or surrogate sharpness",
    ),
    "not-falling-with-epsilon": Meaning(
        f"over the sweep, a larger radius leaves the map more robust, {LESS}, or the largest surely leaves it as "
        "robust as the smallest",
        "a sound attack gains from a larger ball: the gradients are masked, or the map cannot move",
        "compare with random noise and with a model whose map cannot move (the controls)",
    ),
    "other-surrogate-stronger": Meaning(
        f"the attack through a surrogate of another sharpness leaves the map less robust, {LESS}",
        "at the protocol's sharpness the model hides its curvature: its score is too good",
        "report the strongest sharpness",
    ),
    "steps-matter": Meaning(
        f"more steps than the protocol's leave the map less robust, {LESS}",
        "the protocol's search ends before it has found what there is: the score is too good",
        "report the run with more steps",
    ),
    "restarts-matter": Meaning(
        f"more random starts leave the map less robust, {LESS}; the first start is the same, so that the difference is "
        "what luck with it is worth: of three normal ones, 0.85 of their standard deviation",
        "results of single random starts vary much: the score depends on luck and is too good",
        "report the run with more restarts",
    ),
}
"""Those from `black-box-beats-white-box` on compare runs; the others are decided by a run and its floor."""
