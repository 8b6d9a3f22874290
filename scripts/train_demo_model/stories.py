"""Makes short stories, and long ones for showing streaming and Stop, from hand-written parts."""

from random import Random

from .grammar import capitalised, with_article
from .texts import sections

LONG_SCENES = (4, 6)
"""Fewest and most scenes of a long story; six scenes are about 450 tokens."""


class Storyteller:
    """Stories from text/stories.txt."""

    def __init__(self) -> None:
        self.parts = sections("stories")
        for name in ("hero", "thing", "food", "name", "adjective"):
            self.parts[name] = " ".join(self.parts[name]).split()

    def topics(self) -> list[str]:
        """Words that a story can be asked about."""
        return self.parts["hero"] + self.parts["thing"]

    def tell(self, random: Random, topic: str | None = None, *, long: bool = False) -> str:
        parts = self.parts
        hero = topic if topic in parts["hero"] else random.choice(parts["hero"])
        thing = topic if topic in parts["thing"] else None
        names = {"a": hero, "n": random.choice(parts["name"]), "l": random.choice(parts["place"])}
        adjective = random.choice(parts["adjective"])
        names["aj"] = with_article(f"{adjective} {hero}")
        names["Aj"] = capitalised(names["aj"])
        lines = [random.choice(parts["opening"]), random.choice(parts["weather"])]
        text = [line.format(**names) for line in lines]
        count = random.randint(*LONG_SCENES) if long else 1
        for number, scene in enumerate(random.sample(parts["scene"], count)):
            if number:
                text.append(random.choice(parts["link"]).format(**names))
            names |= self._scene_names(random, hero, thing)
            text.append(scene.format(**names))
        ending = parts["long ending" if long else "ending"]
        return " ".join([*text, random.choice(ending).format(**names)])

    def _scene_names(self, random: Random, hero: str, thing: str | None) -> dict[str, str]:
        """Friend, thing and food of one scene; the asked-for thing comes back in every scene."""
        parts = self.parts
        friend = random.choice([word for word in parts["hero"] if word != hero])
        with_adjective = with_article(f"{random.choice(parts['adjective'])} {friend}")
        names = {"b": friend, "kb": with_adjective, "Kb": capitalised(with_adjective)}
        names |= {"t": thing or random.choice(parts["thing"]), "f": random.choice(parts["food"])}
        return names | {"at": with_article(names["t"]), "af": with_article(names["f"])}
