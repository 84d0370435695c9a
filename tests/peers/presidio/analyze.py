"""Presidio on the labelled corpus, a JSON object a line on stdin: what it finds of the kinds that both know, and in
which time on a processor.

No trained spaCy model comes from PyPI: the pipeline only splits words, and a word's lemma is the word in lower case, so that
words around a value count as they do for Presidio with a model. Its recognisers for these kinds are patterns and checksums.

usage: analyze.py <kind of Weir>=<entity of Presidio> …
"""

import json
import sys
import time

import spacy
import tldextract
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from spacy.language import Language

# Nothing is fetched: the list of suffixes that comes with the package.
tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
tldextract.extract = tldextract.tldextract.TLD_EXTRACTOR

# Below this a pattern alone proves little: Presidio's own default for phone numbers, and what its documentation cuts at.
THRESHOLD = 0.4
ENTITIES = dict(pair.split("=") for pair in sys.argv[1:])


@Language.component("lower_case_lemmas")
def lower_case_lemmas(doc):
    for token in doc:
        token.lemma_ = token.lower_
    return doc


class Words(SpacyNlpEngine):
    def __init__(self):
        super().__init__()
        pipeline = spacy.blank("en")
        pipeline.add_pipe("lower_case_lemmas")
        self.nlp = {"en": pipeline}


def found(engine, sample):
    """What it finds; the name of the member that holds the text is context, as it is to Weir."""
    entity = ENTITIES[sample["detector"]]
    context = [word for word in sample["name"].replace("_", " ").split()]
    spans = engine.analyze(sample["text"], "en", entities=[entity], context=context, score_threshold=THRESHOLD)
    return [sample["text"][span.start : span.end].strip() for span in spans]


def main():
    samples = [sample for sample in map(json.loads, sys.stdin) if sample["detector"] in ENTITIES]
    engine = AnalyzerEngine(nlp_engine=Words(), supported_languages=["en"])
    found(engine, samples[0])
    for kind, entity in ENTITIES.items():
        right = missed = wrong = 0
        for sample in (sample for sample in samples if sample["detector"] == kind):
            spans = found(engine, sample)
            got = sum(any(value in span for span in spans) for value in sample["values"])
            right, missed = right + got, missed + len(sample["values"]) - got
            wrong += not sample["values"] and bool(spans)
        recall, precision = right / (right + missed), right / max(1, right + wrong)
        print(json.dumps({"kind": kind, "entity": entity, "recall": recall, "precision": precision}))
    every = list(ENTITIES.values())
    started = time.process_time()
    for sample in samples:
        engine.analyze(sample["text"], "en", entities=every, score_threshold=THRESHOLD)
    seconds = time.process_time() - started
    print(json.dumps({"texts": len(samples), "bytes": sum(len(s["text"].encode()) for s in samples), "seconds": seconds}))


main()
