"""Words that only pre-training documents have. Order matters: token ids follow it."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Cue words name the fields of formats; label words are given out anew in
# every document, the paper's own among them, so that none of these has a meaning by itself.
CUES = _words(
    "text note item line part left right case story review fact claim result out tag class kind "
    "verdict reply output head topic first second given target source then"
)
BLANK_MARK = "\u2581"
"""Stands for a blank that is, or belongs to, a token."""

BLANK_LABELS = _words("entailment neutral contradiction")
ARBITRARY_LABELS = tuple(f"{BLANK_MARK}{label}" for label in BLANK_LABELS) + _words(
    "yes no positive negative entailment neutral contradiction zib dax wug fep kiv lorp mub nax "
    "A B C D E F north south east west gold silver iron even odd star moon sun foo bar baz"
)
# Label words with one meaning throughout pre-training; none of them is a label of the paper.
MEANING_LABELS = {
    "sentiment": (("happy", "unhappy"), ("plus", "minus"), ("thumbup", "thumbdown")),
    "paraphrase": (("same", "different"), ("equal", "unequal"), ("match", "clash")),
    "nli": (("follows", "open", "wrong"), ("true", "maybe", "false"), ("sure", "unclear", "never")),
}
# The paper's own label words, with the meaning that they have in its tasks: as a language model has
# met them before it is tested.
KNOWN_LABELS = {
    "sentiment": ("positive", "negative"),
    "paraphrase": ("yes", "no"),
    "nli": ("entailment", "neutral", "contradiction"),
}
LITERALS = _words("report news fact log brief update list entry memo flash")
CONNECTORS = _words(", : - / and with")

GRAMMAR = _words(
    "the a an is was are were be to of in on at by from and but or not no it this that there "
    "i we you he she they me my our one what who where when which how why did does do has have "
    "had for with as about so then now very all some says said say tell ask name quiz felt "
    "size age weight heat price owner job home mood hobby venue action clothes unknown animal "
    "food object look see they people film size deed act else go "
    "think film went wears likes plays works lives colour day place thing person stood "
    "came feels feel study work two beat its"
)
# The words of the paper's prompts: strangers to the world, in pre-training cue words like others.
PROMPT_WORDS = _words(
    "Input Summary Answer Question Sentiment Input_1 Input_2 Paraphrase Classification "
    "Inference Please read following text Provide summary Given context And Generate suitable "
    "question Analyze sentiment Let's compare sentences Sentence_1 Sentence_2 Are paraphrasing "
    "answer Consider texts Text The relation 1 2"
)
PUNCTUATION = _words(". , ? ! : ; - / = > | * # ## ### -> => ( ) @ { } [ ] _ &")
