r"""The tables of the math verifier: one of spellings, one of units, one of harmless words, one of phrases.

Whatever stands in no table is part of an answer: an unknown command or word is never dropped.
"""

# ruff: noqa: E501 - tables read best unwrapped
# fmt: off

import itertools

LONGEST_ANSWER = 600

_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩϕϵ",
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
        "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega phi epsilon".split(),
        strict=True,
    )
)
# characters that Unicode's own compatibility forms do not turn into ASCII
CHARACTERS = {char: f"\\{name} " for char, name in _GREEK.items()} | {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-", "×": "\\times ", "÷": "/", "⁄": "/", "∕": "/", "·": "\\cdot ", "⋅": "\\cdot ",
    "∙": "\\cdot ", "∗": "*", "∞": "\\infty ", "√": "\\sqrt ", "≤": "\\leq ", "≥": "\\geq ", "⩽": "\\leq ", "⩾": "\\geq ", "≦": "\\leq ",
    "≧": "\\geq ", "≠": "\\neq ", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "∉": "\\notin ", "±": "\\pm ", "∓": "\\mp ", "°": "^\\circ ",
    "º": "^\\circ ", "∅": "\\emptyset ", "≈": "\\approx ", "≡": "\\equiv ", "∠": "\\angle ", "∨": "\\lor ", "∧": "\\land ", "¬": "\\neg ",
    "∖": "\\setminus ", "∣": "|", "′": "'", "″": "''", "’": "'", "∶": ":", "⟨": "\\langle ", "⟩": "\\rangle ", "⌊": "\\lfloor ", "⌋": "\\rfloor ",
    "⌈": "\\lceil ", "⌉": "\\rceil ", "∑": "\\sum ", "∏": "\\prod ", "∫": "\\int ", "→": "\\to ", "⇒": "\\implies ", "∴": "\\therefore ",
    "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℚ": "\\mathbb{Q}", "ℕ": "\\mathbb{N}", "ℂ": "\\mathbb{C}", "…": "\\dots ", "、": ",", "。": ".",
    "＄": "\\$", "“": "", "”": "", "✓": "", "✅": "", "•": " ", "△": "\\triangle ", "⊥": "\\perp ", "∥": "\\parallel ", "⊂": "\\subset ",
}
# commands that only set type: they go, their group stays
DROPPED = frozenset(
    "left right bigl bigr Bigl Bigr biggl biggr Biggl Biggr big Big bigg Bigg middle displaystyle textstyle scriptstyle limits nolimits "
    "hfill noindent rm bf it sf large Large LARGE huge small normalsize checkmark mathbf mathit mathsf mathtt boldsymbol bm pmb "
    "underline underbrace mathop mathstrut strut ensuremath mathcal mathscr mathfrak bold ! \n".split(" ")
)
SPACES = frozenset([*",;:> ()[]", "quad", "qquad", "enspace", "thinspace", "medspace", "thickspace", "space", "nobreakspace"])
TEXT_COMMANDS = frozenset("text textbf textit textrm textnormal textsf texttt textsc mbox hbox emph textup".split())
ROMAN_COMMANDS = frozenset(["mathrm", "operatorname", "operatorname*"])
# one spelling for each command and operator; a value may hold several tokens
COMMANDS = {
    "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\dbinom": "\\binom", "\\tbinom": "\\binom", "\\le": "\\leq",
    "\\leqslant": "\\leq", "\\leqq": "\\leq", "\\ge": "\\geq", "\\geqslant": "\\geq", "\\geqq": "\\geq", "\\ne": "\\neq", "\\lt": "<", "\\gt": ">",
    "\\cdotp": "*", "\\cdot": "*", "\\times": "*", "\\ast": "*", "\\star": "*", "\\div": "/", "\\colon": ":", "\\bigcup": "\\cup", "\\bigcap": "\\cap",
    "\\union": "\\cup", "\\varnothing": "\\emptyset", "\\lbrack": "[", "\\rbrack": "]", "\\lbrace": "\\{", "\\rbrace": "\\}", "\\infin": "\\infty",
    "\\infinity": "\\infty", "\\mid": "|", "\\vert": "|", "\\lvert": "|", "\\rvert": "|", "\\Vert": "\\|", "\\lVert": "\\|", "\\rVert": "\\|",
    "\\degree": "\\circ", "\\ldots": "\\dots", "\\cdots": "\\dots", "\\dotsc": "\\dots", "\\dotsb": "\\dots", "\\vdots": "\\dots", "\\simeq": "\\approx",
    "\\doteq": "\\approx", "\\land": "\\and", "\\wedge": "\\and", "\\lor": "\\or", "\\vee": "\\or", "\\%": "%", "\\pounds": "£", "\\euro": "€",
    "\\backslash": "\\setminus", "\\R": "\\R", "\\Z": "\\Z", "\\varphi": "\\phi", "\\varepsilon": "\\epsilon", "\\vartheta": "\\theta", "\\tg": "\\tan",
    "\\ctg": "\\cot", "\\arctg": "\\arctan", "\\lg": "\\log", "\\prime": "'", "\\ni": "\\in", "\\newline": "\\\\", "\\cr": "\\\\", "\\Leftrightarrow": "\\iff",
    "\\Rightarrow": "\\implies", "\\rightarrow": "\\to", "\\exists": "\\exists", "\\textdegree": "\\circ", "\\perthousand": "‰",
}
# words that stand for symbols
WORDS = {
    "and": "\\and", "or": "\\or", "minus": "-", "negative": "-", "plus": "+", "percent": "%", "percentage": "%", "pct": "%", "pi": "\\pi",
    "infinity": "\\infty", "inf": "\\infty", "oo": "\\infty", "equals": "=", "sqrt": "\\sqrt", "theta": "\\theta", "union": "\\cup", "和": "\\and",
    "或": "\\or", "to": ":",
}
FUNCTIONS = frozenset("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp".split())
LIST_FUNCTIONS = frozenset("gcd lcm max min det mod".split())
RELATIONS = frozenset("= < > \\leq \\geq \\neq \\approx \\equiv \\in \\notin \\sim \\subset \\perp \\parallel \\implies \\iff \\to".split())
PHRASES = {
    phrase: symbol
    for phrases, symbol in (
        ("no solution|no solutions|no real solution|no real solutions|there is no solution|there are no solutions|there are no real solutions"
         "|no solution exists|the empty set|empty set|无解", "\\emptyset"),
        ("all real numbers|all reals|any real number|the set of all real numbers|all real number|real numbers|the real numbers", "\\R"),
    )
    for phrase in phrases.split("|")
}
_SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
NUMBERS = {word: value for value, word in enumerate(f"{_SMALL} eighteen nineteen".split())} | {
    word: 10 * tens for tens, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
MAGNITUDES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12, "万": 4, "亿": 8}

# spelling | spelling ...: the first names the unit; a capital counts, so that mW is not MW
_UNITS = """
m meter metre 米|g gram gramme 克|s sec second 秒|min minute 分钟 分|h hr hrs hour 小时|L l liter litre 升|W watt|J joule|N newton|V volt|Pa pascal
Hz hertz|A ampere amp|K kelvin|C celsius|F fahrenheit|Ω ohm|mol mole|eV|cal calorie|byte|bit|ton tonne 吨|day 天 日|week 周 星期
month 个月 月|year yr yrs 年|in inch inche|ft foot feet|yd yard|mi mile|lb lbs pound|oz ounce|gal gallon|qt quart|pt pint|cup|acre|hectare ha
knot|mph|kph|dollar USD $ buck|cent ¢ penny pennie pence|euro EUR €|sterling GBP £|yen JPY ¥|rupee INR ₹|yuan RMB CNY 元|degree deg
radian rad|unit|person people 人|am AM|pm PM
"""
_PREFIXES = {"k": "kilo", "m": "milli", "c": "centi", "d": "deci", "M": "mega", "G": "giga", "n": "nano", "u": "micro", "μ": "micro", "T": "tera"}
_PREFIXED = "meter metre gram gramme liter litre watt joule newton volt pascal hertz byte bit second calorie hour ton pound".split()
_CHINESE = {"千米": "km", "公里": "km", "厘米": "cm", "毫米": "mm", "分米": "dm", "千克": "kg", "公斤": "kg", "毫升": "mL", "角": "dime", "度": "degree"}
# what questions count; a unit of its own each
_NOUNS = """
apple orange banana pear peach lemon grape berry cherry strawberry mango melon watermelon fruit vegetable carrot potato tomato onion egg cookie cake
cupcake pie pizza slice piece sandwich burger donut muffin candy chocolate sweet lollipop gummy bread loaf bagel biscuit cracker pancake meal dinner lunch
breakfast drink bottle can glass jar box bag basket packet package pack bucket barrel case crate carton bowl plate spoon fork knife tray tank book page
chapter novel magazine newspaper letter word card stamp sticker poster picture photo painting pencil pen crayon marker eraser notebook paper sheet
envelope folder marble ball toy doll block brick tile bead button ribbon balloon puzzle game point goal run lap level coin note ticket token bill
student pupil child children kid boy girl man woman men women adult teacher worker employee farmer player member friend guest visitor passenger customer family
team group class club set row column table chair desk bed room house home building floor stair step window door school store shop office city
town country state car truck bus bike bicycle train plane boat ship wheel tire seat trip ride flight animal dog cat puppy kitten bird chicken hen duck
goose cow horse pig sheep goat rabbit mouse mice fish shark turtle frog snake insect bug bee ant spider butterfly caterpillar flower rose tulip tree plant leaf
leaves seed bush branch stick stone rock shirt shoe sock hat dress skirt pant jacket coat glove scarf bracelet necklace ring clip bow toothpick show song
movie video episode channel phone computer laptop battery key lock light lamp bulb candle time way hour question problem test quiz exam lesson task job chore
course subject vote message email call post part share trade number digit integer solution triangle rectangle circle side edge
vertex vertice face diagonal angle rectangular shape path route word arrangement combination permutation subset element outcome shell
head leg arm finger toe tooth teeth bone feather wing tail mile dime nickel cupful teaspoon tablespoon scoop serving portion batch squares cubes
load roll spool string rope log board plank nail screw pole post tower bridge road street lane field garden yard farm barn pond lake pool river mountain
hill island beach park zoo museum library hospital church hotel restaurant kitchen gift present prize award medal trophy flag sign symbol star planet moon
calorie carb protein vitamin pill tablet dose injection patient doctor nurse pie slice jewel diamond pearl gem crystal clown monster robot alien soldier knight
king queen prince princess pirate wizard ghost dragon lion tiger bear elephant monkey giraffe zebra penguin whale dolphin seal crab lobster oyster shrimp
个 只 本 颗 支 张 块 棵 辆 条 名 次 倍 件 双 页 箱 岁 位 种 把 袋 朵 台 组 枝 套 间 头 匹 根 座 平方
"""
# words that say nothing about a value, by the place where they may stand
HARMLESS = {
    "before": frozenset(
        """the a an our my this these final correct required desired answer answers solution solutions result results value values is are be so
        thus hence therefore then we get have find obtain gives that it total sum area volume perimeter length width height distance speed radius diameter
        circumference probability average mean median maximum minimum max min cost price profit age weight amount difference product ratio number of in
        for there will were was point points ordered pair coordinates she he they needs has had earns spends takes makes altogether only exactly about approximately roughly around nearly
        way ways possible distinct positive integer real least greatest smallest largest 答案 是 为 等于 答 所以 共 约 最后 的 大约 最终 一共 总共
        """.split()
    ),
    # the words of these that may also stand in front of an answer in words
    "lead": frozenset("the a an answer final correct is are so thus hence therefore solution result it 答案 是 为".split()),
    # between a number and its unit
    "within": frozenset(
        "red blue green white black yellow pink purple brown orange gray small large big new old different possible distinct more of real whole"
        " full empty extra other total remaining ordered square cubic sq cu per 的".split()
    ),
    "after": frozenset(
        """is the our final correct answer solution result in total altogether left remaining only each long tall wide high deep old away later ago
        approximately approx roughly units respectively per of water gold milk juice rice flour sugar money them it 。 的""".split()
    ),
}
# words that make another value of what follows, `the sum of 3 and 4`, unless one of MEASURES stands behind them
COMPUTING = frozenset("of in sum product difference average mean median".split())
MEASURES = frozenset(
    "total area volume perimeter length width height distance speed radius diameter circumference probability cost price profit age weight amount"
    " is are was were be equals gives get have find obtain".split()
)
ANSWERS = frozenset("yes no true false odd even none never always".split())  # answers that are words
KNOWN = frozenset().union(ANSWERS, *HARMLESS.values(), WORDS, NUMBERS, MAGNITUDES, FUNCTIONS, LIST_FUNCTIONS, *(phrase.split() for phrase in PHRASES))
GREEK = frozenset(_GREEK.values()) | {"ell", "hbar"}
GLUED_UNITS = frozenset("cm mm km kg ml mL".split())
# what takes an answer back, wherever it stands in a label
DENIALS = frozenset("not no wrong incorrect false never except cannot isn't isnt error mistake or either neither nor but unless fails".split())
ENGLISH_ARTICLES = frozenset(["a", "an", "the"])


def _singular(word: str) -> str:
    if word in ("lens", "gas", "bus", "class", "glass", "dress", "canvas") or len(word) < 4 or not word.endswith("s"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("shes", "ches", "xes", "sses", "oes")) else word[:-1]


def _unit_table() -> dict[str, str]:
    table = {noun: _singular(noun) for noun in _NOUNS.split()}
    for line in itertools.chain.from_iterable(row.split("|") for row in _UNITS.strip().split("\n")):
        name, *spellings = line.split()
        table |= dict.fromkeys([name, *spellings], name)
    for unit in _PREFIXED:
        table |= {word + unit: prefix + table[unit] for prefix, word in _PREFIXES.items()}
    for unit, prefix in itertools.product(("m", "g", "s", "L", "l", "W", "J", "N", "V", "Pa", "Hz", "Wh", "eV"), _PREFIXES):
        table.setdefault(prefix + unit, prefix + {"l": "L"}.get(unit, unit))
    return table | _CHINESE | {"kWh": "kWh"}


UNITS = _unit_table()
COMPOUND = {"mph": {"mi": 1, "h": -1}, "kph": {"km": 1, "h": -1}}
COUNTED = frozenset(_singular(noun) for noun in _NOUNS.split())


def unit(word: str) -> str | None:
    """The one name of a unit or counted noun, whatever its number; None for any other word."""
    for form in (word, _singular(word), word[:-1] if word[-1:] == "s" and len(word) > 4 else word, word.lower() if len(word) > 3 else word, _singular(word.lower())):
        if form in UNITS and (len(form) > 2 or form in (word, _singular(word))):
            return UNITS[form]
    return None
