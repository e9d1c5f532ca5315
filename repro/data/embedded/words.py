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
