"""Known vulnerabilities in what Mien installs: python audit.py [--required] [--osv-url URL].

pip-audit says "no known vulnerabilities" also where its database does not know a package, and a
mirror of the index without the index's JSON interface knows none. So each database is first asked
about a version that is known to be vulnerable, and one that has nothing against it is not believed.
Where none is in reach nothing is audited, and that is said; with --required it is a failure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETS = {"device": ".[demo,signed]", "workstation": ".[convert]"}
"""What is installed where, as pip is asked for it."""

CANARY = "jinja2==2.4.1"
"""Old and known to be vulnerable (CVE-2014-1402, CVE-2016-10745, CVE-2019-10906)."""

SERVICES = ("osv", "pypi")

ACCEPTED = {
    "GHSA-8qvm-5x2c-j2w7": "only protobuf's parser in pure Python, and wheels bring another",
    "GHSA-7gcm-g887-7qv7": "only protobuf's ParseDict; TensorFlow's old Keras calls it, not ours",
}
"""Findings that are known, by their number, each with the reason why it does no harm here: the
converter pins protobuf 4.25.5, and does not go with a later one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A vulnerability of an installed version; `names` are its numbers in several databases."""

    package: str
    names: tuple[str, ...]
    mended: tuple[str, ...]

    def __str__(self) -> str:
        mended = f"mended in {', '.join(self.mended)}" if self.mended else "not mended anywhere"
        return f"{self.package}: {', '.join(self.names)}; {mended}"


class UnansweredError(Exception):
    """A database cannot be asked, or does not answer for everything."""


def resolved(wanted: str) -> list[str]:
    """What pip would install, as NAME==VERSION, without what is installed from here."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"),
                *("--ignore-installed", "--report", report.name, wanted),
            ],
            check=True,
            cwd=ROOT,
        )
        plan = json.loads(Path(report.name).read_text())
    items = [item["metadata"] for item in plan["install"] if not item.get("is_direct")]
    return sorted(f"{item['name']}=={item['version']}" for item in items)


def asked(service: str, packages: Sequence[str], more: Sequence[str] = ()) -> list[Finding]:
    """What a database knows against packages.

    Raises
    ------
    UnansweredError
        It is not in reach, or says nothing of one of them.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(packages))
        file.flush()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip_audit", "--requirement", file.name, "--no-deps"),
                *("--disable-pip", "--format", "json", "--progress-spinner", "off"),
                *("--timeout", "15", "--vulnerability-service", service, *more),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    try:
        answers = json.loads(done.stdout)["dependencies"]
    except json.JSONDecodeError:
        why = done.stderr.strip().splitlines()[-1:] or ["no answer"]
        raise UnansweredError(why[0]) from None
    skipped = [each["skip_reason"] for each in answers if "skip_reason" in each]
    if skipped:
        raise UnansweredError("; ".join(skipped))
    return [
        Finding(
            f"{each['name']} {each['version']}",
            (flaw["id"], *flaw["aliases"]),
            tuple(flaw["fix_versions"]),
        )
        for each in answers
        for flaw in each["vulns"]
    ]


def believed(more: Sequence[str] = ()) -> str | None:
    """The first database that knows what every one should; None where there is none."""
    for service in SERVICES:
        try:
            if asked(service, [CANARY], more if service == "osv" else ()):
                return service
            why = f"it knows nothing against {CANARY}"
        except UnansweredError as exc:
            why = str(exc)
        print(f"{service}: not believed: {why}")
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Audit every set; 1 where something is found, or nothing could be asked though it must."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--required", action="store_true", help="fail where none is in reach")
    parser.add_argument("--osv-url", metavar="URL", help="of a mirror: .../v1/query")
    arguments = parser.parse_args(argv)
    more = ["--osv-url", arguments.osv_url] if arguments.osv_url else []
    service = believed(more)
    if service is None:
        print("NOT AUDITED: no database of vulnerabilities is in reach")
        return int(arguments.required)
    worst = 0
    for name, wanted in SETS.items():
        packages = resolved(wanted)
        try:
            found = asked(service, packages, more if service == "osv" else ())
        except UnansweredError as exc:
            print(f"{name}: not audited: {exc}")
            worst = 1
            continue
        harmful = [each for each in found if not set(each.names) & set(ACCEPTED)]
        for each in harmful:
            print(f"{name}: {each}")
        accepted = len(found) - len(harmful)
        print(f"{name}: {len(packages)} packages, {len(harmful)} found, {accepted} accepted")
        worst |= bool(harmful)
    return worst


if __name__ == "__main__":
    sys.exit(main())
