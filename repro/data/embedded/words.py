"""The word stock of the micro-English world. Order matters: the generator draws by position."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _forms(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(forms.split("/")) for forms in text.split())


PEOPLE = _words(
    "anna tom maria sam lucy ben nora max ella paul ruth hugo clara leo ivy oscar mia jack"
)
PLACES = _words("rome paris london cairo oslo lima tokyo boston berlin madrid delhi sydney")
DAYS = _words("monday tuesday wednesday thursday friday saturday sunday")
COLOURS = _words("red blue green black white yellow brown pink")
THINGS = _words(
    "lamp chair phone book cup clock bag coat ring map drum kite box hat shirt key camera"
)
FOODS = _words("soup bread cake rice tea coffee cheese salad pizza pie honey apple noodles jam")
ANIMALS = _words("dog cat horse bird frog bear wolf sheep duck mouse lion snake")
JOBS = _words("doctor cook farmer pilot nurse singer judge baker painter guard")
VENUES = _words("park school market station beach bridge garden library")
MOODS = _words("glad sad angry calm tired proud scared bored")
HOBBIES = _words("chess tennis poker golf rugby cricket")
ACTIONS = _words("singing running sleeping reading dancing waiting swimming drawing")
TOPICS = _words("parsing vision speech search planning memory sorting ranking")
METHODS = _words("trees graphs rules kernels filters tables grammars agents")
CRIMES = _words("theft fraud fire crash fight storm flood strike")
SKILLS = _words("learn teach start finish improve enjoy plan record")
HABITATS = _words("desert forest river mountain swamp cave lake field")
MEALS = _words("grass fish seeds insects fruit leaves worms roots")

HYPERNYMS = {"things": "object", "foods": "food", "animals": "animal", "people": "person"}
NOUNS = {"things": THINGS, "foods": FOODS, "animals": ANIMALS}

# lemma, past, participle
THING_VERBS = _forms(
    "buy/bought/bought sell/sold/sold find/found/found lose/lost/lost hide/hid/hidden "
    "steal/stole/stolen make/made/made send/sent/sent bring/brought/brought "
    "take/took/taken keep/kept/kept drop/dropped/dropped"
)
SOCIAL_VERBS = _forms(
    "help/helped/helped call/called/called visit/visited/visited thank/thanked/thanked "
    "follow/followed/followed teach/taught/taught meet/met/met hug/hugged/hugged "
    "invite/invited/invited blame/blamed/blamed praise/praised/praised warn/warned/warned"
)
# Words that mean the same, for paraphrases: written for each other in either direction.
SYNONYMS = {
    "bought": "purchased",
    "found": "discovered",
    "hid": "concealed",
    "helped": "aided",
    "called": "phoned",
    "taught": "trained",
    "met": "saw",
    "blamed": "accused",
    "praised": "lauded",
    "big": "large",
    "small": "little",
    "hidden": "concealed",
    "dropped": "released",
    "kept": "retained",
}

GOOD = _words("good great lovely superb nice perfect brilliant pleasant solid fresh")
BAD = _words("bad awful horrible poor dreadful nasty ugly useless rotten stale")
GOOD_VERBS = _words("love like enjoy recommend adore")
BAD_VERBS = _words("hate dislike regret loathe avoid")
DEGREES = _words("very really so quite rather truly")

# Exclusive attributes: a thing has one value of each.
ADJECTIVES = {
    "colour": COLOURS,
    "size": ("big", "small"),
    "age": ("old", "new"),
    "weight": ("heavy", "light"),
    "heat": ("hot", "cold"),
    "price": ("cheap", "costly"),
}
PERSON_ATTRIBUTES = {
    "job": JOBS,
    "home": PLACES,
    "mood": MOODS,
    "hobby": HOBBIES,
    "venue": VENUES,
    "action": ACTIONS,
    "clothes": COLOURS,
}

# Pre-training only. Cue words name the fields of its formats; label words are given out anew in
# every document, the paper's own among them, so that none of these has a meaning by itself.
CUES = _words(
    "text note item line part left right case story review fact claim result out tag class kind "
    "verdict reply output head topic first second given target source then"
)
ARBITRARY_LABELS = _words(
    "yes no positive negative entailment neutral contradiction zib dax wug fep kiv lorp mub nax "
    "A B C D E F north south east west gold silver iron even odd star moon sun foo bar baz"
)
# Label words with one meaning throughout pre-training; none of them is a label of the paper.
MEANING_LABELS = {
    "sentiment": (("happy", "unhappy"), ("plus", "minus"), ("thumbup", "thumbdown")),
    "paraphrase": (("same", "different"), ("equal", "unequal"), ("match", "clash")),
    "nli": (("follows", "open", "wrong"), ("true", "maybe", "false"), ("sure", "unclear", "never")),
}
LITERALS = _words("report news fact log brief update list entry memo flash")
CONNECTORS = _words(", : - / and with")

GRAMMAR = _words(
    "the a an is was are were be to of in on at by from and but or not no it this that there "
    "i we you he she they me my our one what who where when which how why did does do has have "
    "had for with as about so then now very all some says said say tell ask name quiz felt "
    "size age weight heat price owner job home mood hobby venue action clothes unknown animal "
    "food object look see they people film "
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
