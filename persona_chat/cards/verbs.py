"""English verbs, from the third person to the first and the second. It knows words, not sentences."""

_FIRST = {
    "is": "am", "isn't": "am not", "are": "am", "aren't": "am not", "were": "was", "weren't": "wasn't",
    "has": "have", "hasn't": "haven't", "does": "do", "doesn't": "don't", "was": "was", "wasn't": "wasn't",
}  # fmt: skip
_SECOND = {"is": "are", "isn't": "aren't", "am": "are", "was": "were", "wasn't": "weren't", "were": "were"}

# Regular rules get these wrong.
_BASES = {"aches": "ache", "focuses": "focus", "quizzes": "quiz", "lies": "lie", "dies": "die", "ties": "tie"}

# Verbs that are said of people. Only these are recognised where no subject stands before them.
_BASE_FORMS_TEXT = """
    accept ache achieve act add admire admit adopt adore advise afford agree allow annoy answer appear appreciate
    approach argue arrive ask assume attend avoid bake beat become beg begin behave believe belong blame bleed
    bless blush boast brew bring build burn bury buy call care carry carve catch cause challenge change charge
    chase chat check choose claim clean climb collect come command communicate compete complain concern confess
    consider consist contain continue control cook copy count crave create cry cultivate dance dare deal decide
    defend demand deny depend describe deserve design desire despise detest develop die dig disappear discover
    dislike display do doubt draw dream dress drink drive drop dwell earn eat embody embrace emerge encourage end
    endure enjoy ensure enter escape exhibit exist expect experience explain explore express face fail fall fear
    feed feel fight fill find finish fish fix flee flirt fly focus follow forage forget forgive form fret gain
    gather gaze get give go grow grumble guard guide handle hang happen harbor hate haunt heal hear help hide hike
    hold hope hum hunt hurt ignore imagine include insist inspire intend invent invite jog joke judge jump keep
    kill kiss knit knock know lack laugh lead lean learn leave lend let lie lift like listen live loathe long look
    lose love maintain make manage march marry master mean measure meditate meet mend mind miss mock move mutter
    name need notice obey observe obsess offer open order oversee owe own paint pass pay perform pick plan plant
    play please polish possess practice practise pray prefer prepare present pretend prevent pride produce promise
    protect prove provide pull push put question quote race raise reach read realize receive refer refuse regret
    rejoice relax rely remain remember repair repeat represent resent respect respond rest return reveal ride rise
    roam rub rule run sail save say scare search see seek seem sell send serve sew share shine shout show sigh sing
    sit sketch sleep smell smile smoke smuggle snore solve sort speak specialise specialize spend spread stand
    stare start stay steal step stop struggle study stumble stutter suffer support suppose survive sustain swear
    swim take talk taste teach tease tell tend think threaten tinker train travel treasure treat trust try turn
    understand use value view visit volunteer wait wake walk wander want warn wash watch wear weave weigh whisper
    whistle win wish wonder work worry worship write yearn yell
"""
_BASE_FORMS = frozenset(_BASE_FORMS_TEXT.split())

# Of those, what a plural noun looks like: "films and plays".
_NOUNS_TOO_TEXT = """
    aches acts answers attends calls cares causes challenges changes charges checks claims commands concerns
    controls cooks copies counts dances deals demands designs desires displays doubts draws dreams dresses drinks
    drives drops ends escapes experiences faces falls fears feeds feels fights finds fishes fixes flies forms gains
    guards guides handles hates helps hikes holds hopes hunts jokes judges jumps kisses leads leaves lies lifts
    likes lives looks loves masters means measures minds misses moves names needs notices offers paints passes
    picks plans plants plays practices presents prides promises questions quotes races raises reaches regrets rests
    returns rides rules runs sails saves searches shares shows sighs sits sketches smells smiles smokes sorts
    spreads stands stares starts stays stops struggles studies supports tastes teases trains travels treasures
    treats trusts turns uses values views visits waits walks watches wishes wonders works worries
"""
_NOUNS_TOO = frozenset(_NOUNS_TOO_TEXT.split())

MODALS_TEXT = """
    can could will would shall should may might must cannot can't won't wouldn't had did didn't
"""
MODALS = frozenset(MODALS_TEXT.split())


def first(verb: str) -> str:
    """Return the verb as it stands after "I": `loves` gives `love`, `is` gives `am`, `ran` stays."""
    low = verb.lower().replace("’", "'")
    return _FIRST.get(low) or _base(low) or verb


def second(verb: str) -> str:
    """Return the verb as it stands after "you"."""
    low = verb.lower().replace("’", "'")
    return _SECOND.get(low) or first(verb)


def is_third(word: str) -> bool:
    """Whether the word is, or may be, a verb in the third person."""
    low = word.lower().replace("’", "'")
    return low in _FIRST or (low.endswith("s") and _base(low) in _BASE_FORMS)


def may_be_noun(word: str) -> bool:
    """Whether a verb in the third person may as well be a plural noun."""
    return word.lower() in _NOUNS_TOO


def _base(low: str) -> str:
    """The base form of a word that ends like a verb in the third person, else nothing."""
    if low in _BASES:
        return _BASES[low]
    if len(low) < 3 or not low.endswith("s") or low.endswith(("ss", "us", "'s", "ous", "is")):
        return ""
    if low.endswith("ies"):
        return low[:-3] + "y"
    if low.endswith(("sses", "shes", "ches", "xes", "zzes", "oes")):
        return low[:-2]
    return low[:-1]
