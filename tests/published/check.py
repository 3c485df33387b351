# SPDX-License-Identifier: EUPL-1.2
"""Holds documents against what their publishers ship. Run by tests/tests/it/receipts_of_others.rs; prints each fault, exits 1 if there is one.

check.py consent FILE                    consent receipts (JSON-LD): the terms and ranges of DPV, and the guide's required fields
check.py audit FILE FHIR_DEFINITIONS     FHIR R4 bundles: HL7's JSON schema and code systems, and IHE's BALP profiles as published (FSH)
"""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent


# --- consent receipts -----------------------------------------------------------------------------------------------------------


def check_consent(path):
    import pyshacl
    from rdflib import RDF, RDFS, Graph, Literal, URIRef
    from rdflib.namespace import SKOS

    document = json.loads(path.read_text())
    remote = [each for each in contexts(document) if isinstance(each, str)]
    if remote:
        return [f"a context would be fetched: {remote}"]
    graph = Graph().parse(data=json.dumps(document), format="json-ld")
    vocabulary = Graph().parse(HERE / "dpv-2.3-terms.ttl").parse(HERE / "dpv-27560.ttl")
    known = set(vocabulary.subjects())
    faults = []
    if not len(graph):
        return ["not a single statement"]
    for term in sorted({term for triple in graph for term in triple if isinstance(term, URIRef)}):
        if str(term).startswith("https://w3id.org/dpv") and term not in known:
            faults.append(f"{term} is no term of the vocabulary")
        if ":" not in str(term) or str(term).startswith("file:"):
            faults.append(f"{term} was not resolved")

    def kinds(node):
        """Everything that a node is, by the document and the vocabulary."""
        found, todo = set(), [node, *graph.objects(node, RDF.type)]
        while todo:
            kind = todo.pop()
            if kind in found:
                continue
            found.add(kind)
            for up in (SKOS.broader, RDFS.subClassOf, RDF.type):
                todo.extend(vocabulary.objects(kind, up))
        return found

    # Of the vocabulary's open-ended domains and ranges the ranges are held to; domains are not, the guide itself goes beyond them.
    includes = URIRef("http://purl.org/dc/dcam/rangeIncludes")
    for _, predicate, value in graph:
        allowed = set(vocabulary.objects(predicate, includes))
        # The guide itself uses it with a plain address.
        if not allowed or isinstance(value, Literal) or str(predicate).endswith("#isExercisedAt"):
            continue
        own = kinds(value)
        if len(own) > 1 and not own & allowed:
            faults.append(f"{predicate}: {value} is none of its range, {sorted(map(str, allowed))}")
    conforms, _, text = pyshacl.validate(graph, shacl_graph=str(HERE / "dpv-27560-shapes.ttl"), ont_graph=vocabulary)
    if not conforms:
        faults.append(text)
    return faults


def contexts(node):
    """Every context of a document, at whatever depth; lists opened."""
    if isinstance(node, list):
        for item in node:
            yield from contexts(item)
    elif isinstance(node, dict):
        context = node.get("@context")
        yield from context if isinstance(context, list) else [context] if context else []
        for name, value in node.items():
            if name != "@context":
                yield from contexts(value)


# --- audit events ---------------------------------------------------------------------------------------------------------------


def check_audit(path, definitions):
    from jsonschema import Draft6Validator

    schema = json.loads((definitions / "fhir.schema.json").read_text())
    document = json.loads(path.read_text())

    def against(name, value):
        validator = Draft6Validator({"$schema": schema["$schema"], "$ref": f"#/definitions/{name}", "definitions": schema["definitions"]})
        return [f"{name}/{'/'.join(map(str, error.path))}: {error.message[:300]}" for error in validator.iter_errors(value)]

    if document.get("resourceType") != "Bundle":
        return ["not a Bundle"]
    faults = []
    events = 0
    systems = code_systems(definitions)
    profiles = parse_fsh((HERE / "balp-disclose.fsh").read_text())
    for entry in document.get("entry", []):
        resource = entry["resource"]
        kind = resource.get("resourceType")
        if kind not in ("AuditEvent", "OperationOutcome"):
            faults.append(f"{kind} in the bundle")
            continue
        faults += against(kind, resource)
        if kind == "AuditEvent":
            events += 1
            claimed = [url.rsplit("/", 1)[1] for url in resource.get("meta", {}).get("profile", [])]
            if len(claimed) != 1 or claimed[0] not in profiles:
                faults.append(f"claims {claimed}")
            else:
                faults += [f"{claimed[0]}: {fault}" for fault in profiles[claimed[0]].check(resource)]
            faults += unknown_codes(resource, systems)
    # The skeleton, each resource having been held against its own definition: the schema tries all 148 for each otherwise.
    skeleton = {**document, "entry": [{**entry, "resource": {"resourceType": "Basic", "code": {}}} for entry in document.get("entry", [])]}
    faults += against("Bundle", skeleton)
    if not events:
        faults.append("no audit event")
    return faults


def code_systems(definitions):
    """Codes by the URL of each code system that HL7 ships."""
    systems = {}
    for name in ("valuesets.json", "v3-codesystems.json"):
        for entry in json.loads((definitions / name).read_text())["entry"]:
            resource = entry["resource"]
            if resource["resourceType"] == "CodeSystem" and resource.get("concept"):
                systems.setdefault(resource["url"], set()).update(codes(resource["concept"]))
    return systems


def codes(concepts):
    for concept in concepts:
        yield concept["code"]
        yield from codes(concept.get("concept", []))


def unknown_codes(node, systems):
    faults = []
    if isinstance(node, dict):
        if node.get("system") in systems and "code" in node and node["code"] not in systems[node["system"]]:
            faults.append(f"{node['system']} has no code {node['code']}")
        for value in node.values():
            faults += unknown_codes(value, systems)
    elif isinstance(node, list):
        for value in node:
            faults += unknown_codes(value, systems)
    return faults


# --- BALP, read from its FSH ----------------------------------------------------------------------------------------------------

RULE = re.compile(r"^\*\s+(?P<path>[A-Za-z]+(?:\[[A-Za-z]+\])?(?:\.[A-Za-z]+)*)\s+(?P<rest>.+)$")
CARDINALITY = re.compile(r"^(\d+)\.\.(\d+|\*)?$")
SLICE = re.compile(r"^(\w+)\s+(\d+)\.\.(\d+|\*)\s*(?:and)?$")
ALIASES = {"DCM": "http://dicom.nema.org/resources/ontology/DCM", "SCT": "http://snomed.info/sct"}


def parse_fsh(text):
    """The profiles of a file by their ids. What is not understood is an error: a rule must not be passed over."""
    profiles, profile, slicing = {}, None, None
    quoted = False
    for raw in text.splitlines():
        if raw.count('"""') == 1:
            quoted = not quoted
            continue
        line = re.sub(r"(^|\s)//.*$", "", raw).strip()
        if quoted or not line:
            continue
        if line.startswith(("RuleSet:", "Invariant:")):
            profile = None
        elif line.startswith("Id:"):
            profile = profiles[line.split()[1]] = Profile()
        elif slicing is not None and (match := SLICE.match(line)):
            profile.slices[slicing][match[1]] = (int(match[2]), limit(match[3]))
        elif line.startswith("*") and profile is not None:
            slicing = profile.add(line)
        elif line.startswith("*") or re.match(r"^[A-Z]\w+:", line):
            continue
        else:
            raise ValueError(f"not understood: {raw}")
    return profiles


def limit(text):
    return None if text in ("*", None) else int(text)


class Profile:
    def __init__(self):
        self.rules = []  # (slice or None, path below it, what, value)
        self.slices = {"agent": {}, "entity": {}}
        self.matches = []  # (list, coding of which one must be there)

    def add(self, line):
        if match := re.match(r"^\* insert requireAtLeastOneMatch\((\w+), \w+, (\S+?)\s*\)$", line):
            self.matches.append((match[1], code(match[2])))
            return None
        match = RULE.match(line)
        if not match:
            raise ValueError(f"not understood: {line}")
        path, rest = match["path"], re.sub(r'\s+"[^"]*"$', "", match["rest"].strip())
        if rest.startswith("^") or rest == "MS":
            return None
        if rest == "contains":
            return path
        head, _, below = path.partition(".")
        where = head.partition("[")
        slice_name = (where[0], where[2].rstrip("]")) if where[2] else None
        target = below if slice_name else path
        if cardinality := CARDINALITY.match(rest):
            self.rules.append((slice_name, target, "count", (int(cardinality[1]), limit(cardinality[2]))))
        elif rest.startswith("= "):
            self.rules.append((slice_name, target, "is", code(rest[2:])))
        elif rest == "obeys val-audit-source":
            self.rules.append((slice_name, target, "observes", None))
        elif only := re.match(r"^only Reference\((\w+)\)$", rest):
            self.rules.append((slice_name, target, "refers", only[1]))
        else:
            raise ValueError(f"not understood: {line}")
        return None

    def check(self, event):
        faults = []
        for name, wanted in self.matches:
            if not any(same(item, wanted) for item in event.get(name, [])):
                faults.append(f"{name} has no {wanted}")
        for name, slices in self.slices.items():
            for slice_name, bounds in slices.items():
                faults += within(f"{name}[{slice_name}]", self.items(event, name, slice_name), bounds)
        for slice_name, path, what, value in self.rules:
            nodes = self.items(event, *slice_name) if slice_name else [event]
            for node in nodes:
                found = node.get(path) if path else node
                found = [] if found is None else found if isinstance(found, list) else [found]
                at = f"{slice_name or ''}{path}"
                if what == "count":
                    faults += within(at, found, value)
                elif what == "is" and not all(same(item, value) for item in found):
                    faults.append(f"{at} is not {value}")
                elif what == "observes" and node.get("who") != event["source"]["observer"]:
                    faults.append(f"{at} is not the observer")
                elif what == "refers" and not all(item.get("type") == value for item in found):
                    faults.append(f"{at} refers to no {value}")
        return faults

    def items(self, event, name, slice_name):
        """The items of a slice: its discriminator is the type that the profile fixes for it."""
        kind = next(value for where, path, what, value in self.rules if where == (name, slice_name) and path == "type" and what == "is")
        return [item for item in event.get(name, []) if same(item.get("type"), kind)]


def within(at, found, bounds):
    least, most = bounds
    if len(found) < least or (most is not None and len(found) > most):
        return [f"{at}: {len(found)} times"]
    return []


def code(text):
    system, _, value = text.strip().partition("#")
    return (ALIASES.get(system, system), value)


def same(node, wanted):
    """Whether a code, a Coding or one of a CodeableConcept's is this one."""
    system, value = wanted
    if isinstance(node, str):
        return system == "" and node == value
    if not isinstance(node, dict):
        return False
    return any(coding.get("system") == system and coding.get("code") == value for coding in node.get("coding", [node]))


if __name__ == "__main__":
    kind, document = sys.argv[1], pathlib.Path(sys.argv[2])
    found = check_consent(document) if kind == "consent" else check_audit(document, pathlib.Path(sys.argv[3]))
    for fault in found:
        print(fault)
    sys.exit(1 if found else 0)
