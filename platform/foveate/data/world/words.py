"""The words of the simulated world: categories, their topics, and what their videos are about."""

from __future__ import annotations

from typing import Final

TOPICS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "Cooking": {
        "baking": ("sourdough", "croissants", "cinnamon rolls", "focaccia", "cheesecake", "rye bread"),
        "street food": ("tacos", "dumplings", "ramen", "falafel", "bao buns", "kebab"),
        "quick dinners": ("one-pot pasta", "fried rice", "shakshuka", "lentil curry", "sheet-pan chicken", "omelettes"),
    },
    "Gaming": {
        "speedruns": (
            "the ice level",
            "a glitchless run",
            "the final boss",
            "any-percent",
            "the water temple",
            "lap two",
        ),
        "strategy": ("the early game", "naval battles", "a tiny empire", "siege towers", "trade routes", "late tech"),
        "indie games": (
            "a cosy farm",
            "pixel dungeons",
            "a one-man studio",
            "a lost robot",
            "rain and neon",
            "card battlers",
        ),
    },
    "Music": {
        "guitar": (
            "barre chords",
            "fingerpicking",
            "slide guitar",
            "open tunings",
            "the pentatonic scale",
            "palm muting",
        ),
        "live sessions": (
            "a rooftop set",
            "a string quartet",
            "two drummers",
            "a church choir",
            "brass band",
            "kora duo",
        ),
        "production": ("vinyl noise", "side-chain", "a tape echo", "field recordings", "808 drums", "vocal chains"),
    },
    "Sport": {
        "football": ("the offside trap", "set pieces", "a derby", "the number ten", "late winners", "youth academies"),
        "running": ("a first 10k", "hill repeats", "trail shoes", "the long run", "race pacing", "recovery days"),
        "climbing": ("slab technique", "crack climbing", "finger strength", "a night ascent", "dynos", "the crux"),
    },
    "Science": {
        "space": ("neutron stars", "the Kuiper belt", "solar sails", "moon dust", "dark matter", "a comet's tail"),
        "biology": ("tardigrades", "coral spawning", "slime mould", "gut bacteria", "bird migration", "octopus arms"),
        "physics": ("superfluids", "the double slit", "entropy", "magnetic levitation", "sound waves", "time dilation"),
    },
    "Technology": {
        "phones": (
            "a folding screen",
            "battery life",
            "budget phones",
            "camera sensors",
            "repairs at home",
            "old phones",
        ),
        "programming": ("regular expressions", "a tiny compiler", "databases", "git", "type systems", "web sockets"),
        "electronics": ("soldering", "a synth kit", "solar chargers", "e-ink displays", "LED matrices", "ham radio"),
    },
    "Travel": {
        "city walks": ("Lisbon", "Kyoto", "Mexico City", "Tbilisi", "Marrakesh", "Montreal"),
        "trains": (
            "the night train",
            "a mountain railway",
            "the slow coast line",
            "sleeper cars",
            "the Arctic line",
            "steam",
        ),
        "van life": (
            "winter camping",
            "a tiny kitchen",
            "solar on the roof",
            "Norway's coast",
            "desert roads",
            "border days",
        ),
    },
    "Comedy": {
        "sketches": (
            "the office printer",
            "a bad waiter",
            "group chats",
            "the last parking spot",
            "neighbours",
            "airports",
        ),
        "stand-up": ("my landlord", "turning forty", "school reunions", "dating apps", "the dentist", "small towns"),
        "pets": ("a guilty dog", "cats versus boxes", "the loud parrot", "a tiny goat", "zoomies", "the vet visit"),
    },
    "Education": {
        "history": (
            "the silk road",
            "Roman concrete",
            "the plague years",
            "lost libraries",
            "the spice trade",
            "old maps",
        ),
        "mathematics": ("prime numbers", "infinity", "knots", "game theory", "the golden ratio", "graph colouring"),
        "languages": ("false friends", "Japanese particles", "tones", "dead languages", "silent letters", "loan words"),
    },
    "Home": {
        "gardening": ("tomatoes", "compost", "a balcony garden", "pruning roses", "garlic", "raised beds"),
        "woodworking": (
            "dovetail joints",
            "a walnut table",
            "hand planes",
            "a workbench",
            "shaker boxes",
            "wood finishes",
        ),
        "small flats": (
            "hidden storage",
            "a fold-down desk",
            "rented walls",
            "lighting",
            "a narrow hallway",
            "one-room living",
        ),
    },
    "Fashion": {
        "sewing": ("a linen shirt", "zips", "visible mending", "denim", "a winter coat", "pattern cutting"),
        "thrift": (
            "a ten-euro outfit",
            "leather jackets",
            "vintage denim",
            "flea markets",
            "old knitwear",
            "army surplus",
        ),
        "sneakers": ("retro runners", "sole swaps", "a deep clean", "court classics", "lacing", "the grail pair"),
    },
    "Film": {
        "film essays": ("long takes", "the colour red", "silent comedy", "bad sequels", "film noir", "the last shot"),
        "documentary": (
            "a lighthouse keeper",
            "night workers",
            "a vanished village",
            "deep-sea divers",
            "beekeepers",
            "salt miners",
        ),
        "short fiction": ("the lodger", "signal lost", "an honest thief", "the red door", "low tide", "second shift"),
    },
    "News": {
        "explainers": (
            "interest rates",
            "a new border",
            "water rights",
            "how votes count",
            "shipping lanes",
            "rent caps",
        ),
        "climate": ("melting permafrost", "heat pumps", "river floods", "city trees", "wind farms", "forest fires"),
        "business": (
            "a failed merger",
            "the chip shortage",
            "ghost kitchens",
            "airline prices",
            "family firms",
            "strikes",
        ),
    },
    "Health": {
        "yoga": ("stiff hips", "morning flow", "back pain", "balance", "breathing", "desk shoulders"),
        "strength": ("pull-ups", "deadlifts", "kettlebells", "bodyweight legs", "grip", "the warm-up"),
        "sleep": ("jet lag", "night shifts", "naps", "blue light", "dreams", "waking at four"),
    },
    "Vehicles": {
        "bicycles": ("gravel bikes", "a cargo bike", "true wheels", "hub gears", "a barn-find racer", "tubeless tyres"),
        "restoration": (
            "a rusty hatchback",
            "carburettors",
            "a seized engine",
            "old paint",
            "a camper's floor",
            "brake lines",
        ),
        "electric cars": (
            "winter range",
            "fast charging",
            "a used battery",
            "one-pedal driving",
            "home chargers",
            "towing",
        ),
    },
    "Art": {
        "drawing": ("hands", "perspective", "ink washes", "city sketching", "faces", "charcoal"),
        "ceramics": ("a tea bowl", "raku firing", "glaze tests", "handles", "throwing large", "slip casting"),
        "photography": (
            "golden hour",
            "street portraits",
            "film grain",
            "long exposure",
            "a 35 mm lens",
            "darkroom prints",
        ),
    },
}
"""Topic and subjects by category: every video is about a subject of one topic."""

CATEGORY_NAMES: Final = tuple(TOPICS)
TOPIC_NAMES: Final = tuple(topic for topics in TOPICS.values() for topic in topics)
TOPIC_SUBJECTS: Final = tuple(subjects for topics in TOPICS.values() for subjects in topics.values())
TOPICS_PER_CATEGORY: Final = 3
"""The topic of code ``t`` belongs to the category of code ``t // 3``."""
