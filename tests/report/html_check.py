"""A page taken apart with html.parser: is it balanced, what does it ask of the outside, which anchors are there."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
LOADS = {"src", "srcset", "data", "poster", "action", "formaction", "xlink:href"}


class Page(HTMLParser):
    """faults: tags that do not match, ids given twice. loads: what a browser would fetch. links, ids: as they stand."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.stack, self.faults, self.loads, self.links, self.ids, self.texts = [], [], [], [], [], []
        self.images: list[dict[str, str]] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.stack]
        self.faults += [f"id {name} is given twice" for name in set(self.ids) if self.ids.count(name) > 1]

    def handle_starttag(self, tag, attributes):
        given = {name: value or "" for name, value in attributes}
        if tag not in VOID:
            self.stack.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        self.loads += [value for name, value in given.items() if name in LOADS]
        if tag == "link":
            self.loads.append(given.get("href", ""))
        if tag == "a":
            self.links.append(given.get("href", ""))
        if tag == "img":
            self.images.append(given)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        if tag in VOID:
            self.faults.append(f"</{tag}> of an empty element")
        elif not self.stack or self.stack[-1] != tag:
            self.faults.append(f"</{tag}> closes {self.stack[-1:]} in line {self.getpos()[0]}")
            if tag in self.stack:
                while self.stack.pop() != tag:
                    pass
        else:
            self.stack.pop()

    def handle_data(self, data):
        if self.stack and self.stack[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All visible words, blanks collapsed."""
        return " ".join(" ".join(self.texts).split())
