"""The parameters of both templates: each has a form, and a wrong value is refused in words that help."""

import re
from functools import cache
from typing import Any

import pytest

from tools.template import ROOT, read

FILES = ("template.yaml", "cluster.yaml")


@cache
def parameters() -> dict[tuple[str, str], dict[str, Any]]:
    """Give every parameter by its file and name."""
    return {
        (file, name): each
        for file in FILES
        for name, each in read((ROOT / file).read_text(encoding="utf-8"))["Parameters"].items()
    }


_MAIL = (
    ["shop@example.com", "o.r+ders@mail.example.co.uk", "shop@xn--bcher-kva.example"],
    [
        *("shop", "shop@", "@example.com", "shop@localhost", "shop@bücher.example", "bücher@example.com"),
        *(
            "Shop <shop@example.com>",
            "a@b@example.com",
            "shop@example..com",
            "shop@-a.com",
            "a b@example.com",
        ),
        *(
            "a b@example.com",
            "shop@example.com\n",
            " shop@example.com",
            "a@b.com,c@d.com",
            "x" * 65 + "@a.com",
        ),
    ],
)
_CLUSTER = "arn:aws:dsql:us-east-2:123456789012:cluster/"
_MAYBE_MAIL = (["", *_MAIL[0]], [each for each in _MAIL[1] if each])

#: Values that are right and wrong, by the parameter.
VALUES: dict[tuple[str, str], tuple[list[str], list[str]]] = {
    ("template.yaml", "ClusterStack"): (
        ["rewards-cluster", "A1"],
        ["", "1cluster", "rewards_cluster", "rewards cluster", "a" * 129, "rewards-cluster-endpoint/"],
    ),
    ("template.yaml", "ClusterEndpoint"): (
        ["", "abc123.dsql.us-east-1.on.aws", "127.0.0.1", "localhost"],
        ["https://abc.dsql.us-east-1.on.aws", "abc.on.aws/", "abc.on.aws:5432", "ABC.on.aws", "a b", "-a.b"],
    ),
    ("template.yaml", "DatabaseName"): (["postgres", "test_1"], ["", "1a", "a b", "a;b", "a" * 64]),
    ("template.yaml", "SenderAddress"): (_MAIL[0], ["", *_MAIL[1]]),
    ("template.yaml", "DemoPassword"): (
        ["", "Shop-Points-2026"],
        ["short-1A", "shop-points-2026", "Shop Points 2026", "Shop,Points-2026", "Schöne-Punkte-2026"],
    ),
    ("template.yaml", "AllowedOrigin"): (
        [
            "*",
            "https://shop.example.com",
            "http://127.0.0.1:8000",
            "http://localhost:3000",
            "https://a.b:8443",
        ],
        [
            *("", "https://shop.example.com/", "https://shop.example.com/shop", "shop.example.com", "null"),
            *("https://Shop.example.com", "HTTPS://shop.example.com", "https://", "https://*.example.com"),
            *("https://shop.example.com:443", "http://shop.example.com:80", "https://a.com:0", "ftp://a.com"),
            *("https://a.com,https://b.com", "https://a.com https://b.com", "https://bücher.example", "**"),
            *(
                "https://user@a.com",
                "https://a.com?x",
                "https://a.com#x",
                "https://a.com\n",
                "https://.a.com",
            ),
        ],
    ),
    ("template.yaml", "AlarmEmail"): _MAYBE_MAIL,
    ("template.yaml", "OtherRegion"): (
        ["", "us-east-2,https://a/v1,https://b,us-east-2_abc,client,https://c"],
        ["us-east-2", "us-east-2,https://a/v1", "https://a", "us-east-2,a,b,c,d,e,f", "us-east-2,a,b, c,d,e"],
    ),
    ("template.yaml", "DemoUsernames"): (
        ["", "carlos_salazar_121", "ana,carlos"],
        [",", "ana,", ",ana", "ana, carlos", "ana carlos", "ana,,carlos"],
    ),
    ("template.yaml", "SmokeCustomerId"): (
        ["", "7d3e0b0e-53d7-4a0c-a7c3-0f6a50b8b1d4"],
        ["smoke", "7D3E0B0E-53D7-4A0C-A7C3-0F6A50B8B1D4", "7d3e0b0e53d74a0ca7c30f6a50b8b1d4", "-" * 36],
    ),
    ("template.yaml", "EmulatorUrl"): (
        ["", "http://127.0.0.1:4566"],
        ["http://127.0.0.1:4566/", "127.0.0.1:4566", "http://a/b", "http://"],
    ),
    ("cluster.yaml", "WitnessRegion"): (
        ["", "us-west-2", "ap-southeast-2"],
        ["mars", "us-west", "us-west-2a"],
    ),
    ("cluster.yaml", "PairedClusterArns"): (
        ["", f"{_CLUSTER}abc123,{_CLUSTER}def456"],
        ["abc123", f"{_CLUSTER}abc123", f",{_CLUSTER}a,{_CLUSTER}b", f"{_CLUSTER}a{_CLUSTER}b"],
    ),
    ("cluster.yaml", "CopyToVaultArn"): (
        ["", "arn:aws:backup:us-east-2:123456789012:backup-vault:pair"],
        ["pair", "arn:aws:backup:us-east-2:123:backup-vault:pair", "arn:aws:s3:::backup-vault:pair"],
    ),
    ("cluster.yaml", "KmsKeyArn"): (
        ["", "arn:aws:kms:us-east-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"],
        ["arn:aws:kms:us-east-1:123456789012:alias/mine", "alias/mine", "arn:aws:kms:us-east-1:1:key/a"],
    ),
    ("cluster.yaml", "AlarmEmail"): _MAYBE_MAIL,
}


@pytest.mark.parametrize("place", parameters(), ids="-".join)
def test_each_parameter_has_a_form_and_says_what_it_is(place: tuple[str, str]) -> None:
    parameter = parameters()[place]
    if "AllowedValues" in parameter:
        return
    if parameter["Type"] == "Number":
        assert "MinValue" in parameter
        return
    assert parameter["AllowedPattern"].startswith("^")
    assert parameter["AllowedPattern"].endswith("$")
    assert parameter["ConstraintDescription"].startswith("must be ")
    assert place in VALUES, "name right and wrong values of it here"


def is_taken(parameter: dict[str, Any], value: str) -> bool:
    """Tell whether CloudFormation takes a value: it matches the whole of it."""
    longest = int(parameter.get("MaxLength", 4096))
    return len(value) <= longest and re.fullmatch(parameter["AllowedPattern"], value) is not None


@pytest.mark.parametrize(("place", "values"), VALUES.items(), ids=["-".join(place) for place in VALUES])
def test_right_values_are_taken_and_wrong_ones_are_not(
    place: tuple[str, str], values: tuple[list[str], list[str]]
) -> None:
    right, wrong = values
    parameter = parameters()[place]
    assert [value for value in right if not is_taken(parameter, value)] == []
    assert [value for value in wrong if is_taken(parameter, value)] == []


@pytest.mark.parametrize("place", VALUES, ids="-".join)
def test_a_default_is_a_right_value(place: tuple[str, str]) -> None:
    parameter = parameters()[place]
    assert "Default" not in parameter or is_taken(parameter, parameter["Default"])
