"""What can be said of the pages without a browser: files, policy, words, colours, kilobytes."""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import pytest

from api.__main__ import DOCUMENT
from demos.live import FILES as FILES_OF_DRILLS
from domain.points import CreditKind
from handlers.edge.problems import KINDS
from tools.template import ROOT, template
from tools.vendor import FILES

WEB = ROOT / "web"
VENDOR = WEB / "vendor"

#: What CloudFront leaves as it is: only files from this size on are compressed.
LEAST_COMPRESSED_BYTES = 1_000

#: What has to come before a page can show itself, by who looks; the start is in each. Whoever
#: comes back has loaded the tab again: a session ends with it, and the browser has the files.
FIRST = {
    "who comes": ("pages/signin.js", "pages/signin.css"),
    "who comes back": ("shop.js", "pages/shop.css", "pages/catalogue.js"),
}

#: The most bytes of each of these (all but pictures), as they are and compressed.
MOST_AT_FIRST = {"who comes": (60_000, 20_000), "who comes back": (66_000, 27_500)}

#: The same of signing in and seeing the shelf; of all that a customer can load; of all that is published.
SIGNING_IN = ("sign-in.js", *FIRST["who comes"], *FIRST["who comes back"])
MOST_OF_SIGNING_IN = (82_000, 35_000)
MOST_OF_THE_SHOP = (149_000, 61_500)
MOST_OF_ALL = (203_000, 81_500)

#: The same of one page of the staff's, and of the drills', beyond the catalogue that the staff came from.
MOST_BEYOND = (40_000, 15_000)

#: The most pictures a second that whatever moves without an end may have drawn: without a graphics card the
#: processor draws each, in the tests, too. An even spinner in a dialog took nine tenths of a core.
MOST_PICTURES_A_SECOND = 16

#: Kinds of problems that only the staff meet.
OF_THE_STAFF = {
    *("self-credit", "not-a-household", "household-above-limit", "stock-unlimited", "stock-limit"),
    *("stock-too-low", "item-retired", "unknown-image"),
}

PAGES = sorted(WEB.glob("*.html"))
SHEETS = sorted({*WEB.rglob("*.css"), *(path for path in FILES_OF_DRILLS.values() if path.suffix == ".css")})
OURS = sorted(path for path in WEB.rglob("*.js") if VENDOR not in path.parents)


def name(path: Path) -> str:
    return path.relative_to(WEB).as_posix()


# --- The policy: nothing inline, nothing that it would stop ------------------------------------------------


class _Inline(HTMLParser):
    """Gathers what a strict policy forbids, and what the page asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.forbidden: list[str] = []
        self.wanted: list[str] = []
        self._open = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._open = tag
        for attribute, value in attributes:
            if attribute.startswith("on") or attribute == "style" or (value or "").startswith("javascript:"):
                self.forbidden.append(f"<{tag} {attribute}>")
            if attribute == "src" or (tag == "link" and attribute == "href"):
                self.wanted.append(value or "")

    def handle_data(self, data: str) -> None:
        if self._open in ("script", "style") and data.strip():
            self.forbidden.append(f"<{self._open}>{data.strip()[:30]}")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def inline(text: str) -> _Inline:
    found = _Inline()
    found.feed(text)
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_has_nothing_inline_and_all_that_it_asks_for(page: Path) -> None:
    found = inline(page.read_text())
    assert found.forbidden == []
    assert found.wanted
    assert [each for each in found.wanted if not (WEB / each).is_file()] == []


@pytest.mark.parametrize(
    "text",
    ["<script>a()</script>", '<p onclick="a()">', '<p style="color: red">', "<style>p {}</style>"],
)
def test_something_inline_would_be_found(text: str) -> None:
    assert inline(text).forbidden


def templates(text: str) -> Iterator[str]:
    """Give the HTML in a module's templates, roughly: what stands between backticks after html or svg."""
    yield from re.findall(r"(?:html|svg)`(.*?)`", text, re.DOTALL)


@pytest.mark.parametrize("module", OURS, ids=name)
def test_a_module_has_nothing_that_the_policy_would_stop(module: Path) -> None:
    text = module.read_text()
    assert not re.search(
        r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write", text
    )
    assert not re.search(r"unsafe(HTML|SVG|Static)", text)
    for html in templates(text):
        assert not re.search(r"\sstyle=|\son[a-z]+=", html), html[:80]


def test_no_test_has_a_page_ask_again_by_an_expression() -> None:
    """Playwright's wait_for_function is an eval from its second look on, and the policy stops that."""
    tests = [*(ROOT / "tests" / "browser").glob("*.py"), *(ROOT / "demos").rglob("*.py")]
    assert len(tests) > 10
    assert [path.name for path in tests if ".wait_for_function(" in path.read_text()] == []


def imports(path: Path, *, later: bool = True) -> list[str]:
    """Give the files that a module imports, by their path in web/; `later`: what it loads later, too."""
    text = path.read_text()
    found = re.findall(r"""(?:^|[\s;}])(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]""", text)
    if later:
        found += re.findall(r"""\bimport\(\s*['"]([^'"]+)['"]""", text)
        found += re.findall(r"""['"]([\w/]+\.css)['"]""", text)
    return [(path.parent / each).resolve().relative_to(WEB).as_posix() for each in found]


def reached(page: Path, *, later: bool = True) -> set[Path]:
    """Give all that a page loads: itself, its styles and sign, its modules and theirs."""
    waiting = [WEB / each for each in inline(page.read_text()).wanted]
    found = {page}
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [WEB / each for each in imports(path, later=later)] if path.suffix == ".js" else []
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_import_is_a_file_of_ours(page: Path) -> None:
    assert [name(path) for path in reached(page) if not path.is_file()] == []


def test_no_file_is_published_that_nobody_loads() -> None:
    loaded = {path for page in PAGES for path in reached(page)}
    kept = {path for path in WEB.rglob("*.*") if path.is_file() and path.suffix in (".js", ".css", ".html")}
    assert [name(path) for path in sorted(kept - loaded)] == []


def test_the_policy_of_the_template_is_strict() -> None:
    headers = template()["Resources"]["PagesHeaders"]["Properties"]["ResponseHeadersPolicyConfig"]
    text, _ = headers["SecurityHeadersConfig"]["ContentSecurityPolicy"]["ContentSecurityPolicy"]["Fn::Sub"]
    policy = {each.split()[0]: each.split()[1:] for each in text.split(";")}
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == ["'self'"]
    assert policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["require-trusted-types-for"] == ["'script'"]
    assert policy["trusted-types"] == ["lit-html"]
    assert not re.search(r"unsafe|\*|data:|blob:", text)
    assert headers["SecurityHeadersConfig"].keys() >= {
        "ContentTypeOptions",
        "FrameOptions",
        "ReferrerPolicy",
        "StrictTransportSecurity",
    }


def test_names_that_the_account_shares_carry_the_region() -> None:
    resources = template()["Resources"]
    access = resources["PagesAccess"]["Properties"]["OriginAccessControlConfig"]["Name"]
    headers = resources["PagesHeaders"]["Properties"]["ResponseHeadersPolicyConfig"]["Name"]
    assert "${AWS::Region}" in access["Fn::Sub"]
    assert "${AWS::Region}" in headers["Fn::Sub"]


# --- What others made -------------------------------------------------------------------------------------


def test_vendored_files_are_the_registrys_with_their_licence() -> None:
    record = json.loads((VENDOR / "vendor.json").read_text())
    assert record.keys() == FILES.keys()
    for package, entry in record.items():
        held = {path.relative_to(VENDOR / package).as_posix() for path in (VENDOR / package).rglob("*.*")}
        held = {each for each in held if (VENDOR / package / each).is_file()} | {"LICENSE"}
        assert held == set(entry["sha256"]) == set(FILES[package])
        assert entry["integrity"].startswith("sha512-")
        for file, digest in entry["sha256"].items():
            assert hashlib.sha256((VENDOR / package / file).read_bytes()).hexdigest() == digest, file


# --- The API ----------------------------------------------------------------------------------------------


def called(text: str) -> set[str]:
    """Give the paths of the API that a module names, their parts that vary as {}."""
    found = re.findall(r"""(?<![\w#])['"`](/[a-z]+(?:/[a-z]+|/\$\{[^}]+\})*)[?'"`]""", text)
    return {re.sub(r"\$\{[^}]+\}", "{}", each).rstrip("/") for each in found}


def test_every_path_that_the_pages_call_is_in_the_document() -> None:
    documented = {re.sub(r"\{[^}]+\}", "{}", path) for path in json.loads(DOCUMENT.read_text())["paths"]}
    used = {path for module in OURS for path in called(module.read_text())}
    assert used - documented == set()
    assert {
        "/catalog",
        "/cart",
        "/cart/items/{}",
        "/orders",
        "/orders/{}/refunds",
        "/points/transfers",
    } <= used


def test_every_kind_of_problem_has_its_words() -> None:
    table = (WEB / "words" / "problems.js").read_text()
    said = set(re.findall(r"^  '?([a-z-]+)'?: \[", table, re.MULTILINE))
    assert said == set(KINDS) - OF_THE_STAFF
    staff = (WEB / "staff" / "words.js").read_text()
    table = staff[staff.index("export const staffProblems") :]
    assert set(re.findall(r"^  '?([a-z-]+)'?: \[", table, re.MULTILINE)) == OF_THE_STAFF


# --- Colours ----------------------------------------------------------------------------------------------

#: Foreground and background, and how many times lighter one has to be: 4.5 for text, 3 for what is drawn.
CONTRASTS = [
    *(("ink", ground, 4.5) for ground in ("ground", "surface", "raised", "warn-soft", "alarm-soft")),
    *(("muted", ground, 4.5) for ground in ("ground", "surface", "raised")),
    ("brand", "brand-soft", 4.5),
    ("on-brand", "brand", 4.5),
    ("alarm", "surface", 4.5),
    ("alarm", "alarm-soft", 3),
    ("on-alarm", "alarm", 4.5),
    ("good", "good-soft", 4.5),
    ("good", "surface", 4.5),
    ("warn", "warn-soft", 4.5),
    ("ground", "ink", 4.5),
    ("brand", "ground", 3),
    ("edge", "surface", 3),
    ("edge", "ground", 3),
]


def colours() -> dict[str, tuple[str, str]]:
    """Give the tokens: their colours in light and in dark."""
    text = (WEB / "shop.css").read_text()
    return {
        token: (light, dark)
        for token, light, dark in re.findall(r"--([a-z-]+): light-dark\((#\w{6}), (#\w{6})\)", text)
    }


def luminance(colour: str) -> float:
    """WCAG's relative luminance, 0 to 1."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(("front", "back", "least"), CONTRASTS, ids=lambda value: str(value))
def test_colours_can_be_told_apart_in_light_and_in_dark(front: str, back: str, least: float) -> None:
    for scheme in (0, 1):
        found = contrast(colours()[front][scheme], colours()[back][scheme])
        assert found >= least, f"{found:.2f} in {('light', 'dark')[scheme]}"


def test_nothing_but_colours_differs_in_the_dark() -> None:
    """So that in the dark the tests have axe look at colours alone."""
    files = {*SHEETS, *OURS, *PAGES, *FILES_OF_DRILLS.values()}
    asking = [path for path in files if b"prefers-color-scheme" in path.read_bytes()]
    pairs = [
        pair for path in SHEETS for pair in re.findall(r"light-dark\(([^()]*)\)", path.read_text("utf-8"))
    ]
    assert asking == []
    assert [pair for pair in pairs if not re.fullmatch(r"#[0-9a-f]+, #[0-9a-f]+", pair)] == []


def test_black_on_white_is_21_times_as_light() -> None:
    assert round(contrast("#000000", "#ffffff"), 2) == 21


# --- Weight -----------------------------------------------------------------------------------------------


def weight(files: set[Path]) -> tuple[int, int]:
    """Give the bytes of files, as they are and as CloudFront sends them to who takes gzip."""
    sizes = [
        (
            len(content),
            len(gzip.compress(content)) if len(content) >= LEAST_COMPRESSED_BYTES else len(content),
        )
        for content in (path.read_bytes() for path in files)
    ]
    return sum(size for size, _ in sizes), sum(gzipped for _, gzipped in sizes)


def loaded(*files: str) -> set[Path]:
    """Give what the page loads before it asks for more, and these files with all that they import at once."""
    found, waiting = reached(WEB / "index.html", later=False), [WEB / file for file in files]
    while waiting:
        path = waiting.pop()
        assert path.is_file(), path
        if path not in found:
            found.add(path)
            waiting += [WEB / each for each in imports(path, later=False)] if path.suffix == ".js" else []
    return found


def over(files: set[Path], most: tuple[int, int]) -> list[str]:
    """Say what files weigh that weigh too much; nothing of others."""
    size, gzipped = weight(files)
    fine = size <= most[0] and gzipped <= most[1]
    return [] if fine else [f"{size:,} bytes, {gzipped:,} compressed; at most {most[0]:,} and {most[1]:,}"]


@pytest.mark.parametrize("who", FIRST)
def test_a_first_page_keeps_within_its_budget(who: str) -> None:
    assert over(loaded(*FIRST[who]), MOST_AT_FIRST[who]) == []


def test_a_page_that_weighs_too_much_is_told_with_what_it_weighs() -> None:
    assert over(loaded(*FIRST["who comes"]), (10_000, 20_000)) != []
    assert over(loaded(*FIRST["who comes"]), (60_000, 10_000)) != []


def test_signing_in_and_the_whole_keep_within_theirs() -> None:
    everything = reached(WEB / "index.html")
    assert over(loaded(*SIGNING_IN), MOST_OF_SIGNING_IN) == []
    assert over({path for path in everything if not is_the_staffs(path)}, MOST_OF_THE_SHOP) == []
    assert over(everything, MOST_OF_ALL) == []


def is_the_staffs(path: Path) -> bool:
    return "staff" in path.relative_to(WEB).parts


def test_a_page_is_loaded_when_it_is_shown() -> None:
    at_once = {name(path) for path in reached(WEB / "index.html", later=False)}
    assert not {each for each in at_once if each.startswith(("pages/", "staff/"))}
    assert not at_once & {
        *("shop.js", "api.js", "sign-in.js", "srp.js", "checkout.js", "dialogs.js"),
        *("words/problems.js", "words/shop.js"),
    }


def test_the_staffs_pages_are_loaded_by_nobody_else_and_keep_within_their_budget() -> None:
    customers = {
        path for path in reached(WEB / "index.html") if not is_the_staffs(path) and path.suffix == ".js"
    }
    naming = [path for path in customers if any("staff/" in each for each in imports(path))]
    assert [name(path) for path in naming] == ["shop.js"]
    assert [each for each in imports(WEB / "shop.js") if "staff/" in each] == [
        "staff/routes.js",
        "staff/staff.css",
    ]
    before = (*FIRST["who comes back"], "pages/more.css")
    pages = imports(WEB / "staff" / "routes.js")
    assert len(pages) == 5
    for page in pages:
        beyond = loaded(*before, "staff/staff.css", "staff/routes.js", page) - loaded(*before)
        assert over(beyond, MOST_BEYOND) == [], page


def test_the_drills_page_keeps_within_its_budget() -> None:
    own = {path for path in FILES_OF_DRILLS.values() if WEB not in path.parents}
    assert over(own, MOST_BEYOND) == []
    linked = inline((ROOT / "demos" / "page" / "index.html").read_text()).wanted
    assert {f"/{each}" for each in linked} <= FILES_OF_DRILLS.keys()


def test_the_distribution_compresses_and_says_of_which_files_it_may() -> None:
    behaviour = template()["Resources"]["PagesDistribution"]["Properties"]["DistributionConfig"][
        "DefaultCacheBehavior"
    ]
    assert behaviour["Compress"] is True
    # AWS's CachingOptimized, whose keys tell gzip and Brotli apart; without a TTL nothing is compressed.
    assert behaviour["CachePolicyId"] == "658327ea-f89d-4fab-a63d-7e88639e58f6"


def restless(sheet: str) -> list[str]:
    """Give what moves without an end and is drawn more often than it may."""
    found = []
    for rule in re.findall(r"animation:[^;}]*\binfinite\b[^;}]*", sheet):
        steps, seconds = re.search(r"steps\((\d+)", rule), re.search(r"(?<![\w.])(\d*\.?\d+)s\b", rule)
        if not steps or not seconds or int(steps[1]) / float(seconds[1]) > MOST_PICTURES_A_SECOND:
            found.append(rule)
    return found


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda path: "/".join(path.parts[-2:]))
def test_what_moves_without_an_end_moves_in_steps(sheet: Path) -> None:
    text = sheet.read_text(encoding="utf-8")
    assert restless(text) == []
    # What lies over the page would be filtered anew with every picture of what moves on it, or under it.
    assert "backdrop-filter" not in text


@pytest.mark.parametrize(
    ("rule", "is_restless"),
    [
        ("animation: turn .8s linear infinite", True),
        ("animation: turn 1s infinite", True),
        ("animation: infinite turn .5s steps(12)", True),
        ("animation: turn .8s steps(12) infinite", False),
        ("animation: breathe 1.4s steps(16, jump-none) infinite alternate", False),
        ("animation: once .2s ease", False),
    ],
)
def test_an_even_animation_without_an_end_would_be_found(rule: str, is_restless: bool) -> None:
    assert bool(restless(f"a {{ {rule}; }}")) is is_restless


def test_every_kind_of_ledger_entry_has_its_word() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "sql").rglob("*.py"))
    written = set(re.findall(r'_(?:entry|credit)\([^"]*?"([A-Z]+)"', sources)) | set(get_args(CreditKind))
    # The sample's customers begin with one of these; whoever sees the other has no account any more.
    shown = (written | {"OPENING"}) - {"FORFEIT"}
    words = (WEB / "words" / "pages.js").read_text(encoding="utf-8")
    (kinds,) = re.findall(r"kinds: \{\n(.*?)\n    \}", words, re.DOTALL)
    assert set(re.findall(r"([A-Z]+): '", kinds)) == shown


def test_every_word_and_every_style_is_used() -> None:
    """What nobody shows is weight, and misleads whoever translates or restyles."""
    modules = {path: re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL) for path in OURS}
    markup = "".join(modules.values()) + "".join(page.read_text() for page in PAGES)
    drills = "".join(path.read_text() for path in (ROOT / "demos" / "page").iterdir())
    shown = "".join(text for path, text in modules.items() if "words" not in path.as_posix())
    unused = []
    for path, text in modules.items():
        if path.parent.name == "words" and path.name != "problems.js":
            for word in re.findall(r"^  (\w+): ['(`\[]", text, re.MULTILINE):
                if not re.search(rf"\.{word}\b", shown):
                    unused.append(f"{name(path)}: {word}")
    for path in WEB.rglob("*.css"):
        selectors = re.sub(r"\{[^{}]*\}|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        for style in sorted(set(re.findall(r"\.([a-zA-Z][\w-]*)", selectors))):
            # Some are put together: a chart's series, a state that the API names.
            if style not in ("k0", "k1") and not re.search(rf"(?<![\w-]){style}(?![\w-])", markup + drills):
                unused.append(f"{name(path)}: .{style}")
    assert unused == []
