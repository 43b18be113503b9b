"""A draft of the check-lists CLAIM 2024 and TRIPOD+AI: what the run knows, and what only the authors can say.

Topics are in our own short words; numbers are those of the published lists as far as we know them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from synthoma.report.claims import claims
from synthoma.report.content import ReportContent
from synthoma.report.families import family_of
from synthoma.report.references import Cited
from synthoma.report.tables import Table

__all__ = ["LISTS", "checklist_markdown", "checklist_tables", "known"]

AUTHORS = "For the authors: "
LISTS: Mapping[str, tuple[tuple[str, str, str, str], ...]] = {
    "CLAIM 2024": (
        ("1", "Title: names the AI method", "", "name the kind of model in the title"),
        ("2", "Abstract: design, methods, results", "", "write it; tables and verdicts stand in the report"),
        ("3", "Background and intended use", "", "clinical background and role of the synthetic images"),
        ("4", "Aims and hypotheses", "", "state them as they stood before the run"),
        ("5", "Prospective or retrospective", "", "say which"),
        ("6", "Goal of the study", "", "say whether it makes, tests or compares a method"),
        ("7", "Data sources", "data", "centres, dates, licences"),
        ("8", "Inclusion and exclusion", "left out", "clinical criteria of the source"),
        ("9", "Preprocessing", "preprocessing", ""),
        ("10", "Selection of parts of the data", "selection", ""),
        ("11", "De-identification", "", "how the files were de-identified; synthetic is not anonymous"),
        ("12", "Missing data", "left out", "reasons in the source"),
        ("13", "Acquisition protocol", "", "scanners, sequences, contrast"),
        ("14", "Reference standard: definition", "labels", "how labels and masks came about clinically"),
        ("15", "Reference standard: reason", "", "why this standard"),
        ("16", "Reference standard: who annotated", "", "number and experience of readers"),
        ("17", "Annotation of the test set", "", "say whether it differs"),
        ("18", "Variability of readers", "readers", "inter- and intra-reader variability of the annotations"),
        ("19", "How partitions were assigned", "partition", ""),
        ("20", "Level at which they are disjoint", "disjoint", ""),
        ("21", "Intended sample size", "size", "how it was determined beforehand"),
        ("22", "Model", "model", ""),
        ("23", "Software", "software", ""),
        ("24", "Initial parameters", "initial", ""),
        ("25", "Training", "training", ""),
        ("26", "Choice of the final model", "chosen", ""),
        ("27", "Ensembles", "", "say that there is none, if so"),
        ("28", "Measures of performance", "evaluation", ""),
        ("29", "Significance and uncertainty", "statistics", ""),
        ("30", "Robustness and sensitivity", "robustness", "further analyses"),
        ("31", "Explainability", "explained", "what explains the models' answers"),
        ("32", "Evaluation on internal data", "internal", ""),
        ("33", "Testing on external data", "external", "data of other centres"),
        ("34", "Registration of a trial", "", "number, or that there is none"),
        ("35", "Numbers included and excluded", "flow", "flow diagram from the source to the cohort"),
        ("36", "Demographics by partition", "", "age, sex and disease by partition: the toolkit does not read them"),
        ("37", "Performance with uncertainty", "performance", ""),
        ("38", "Diagnostic accuracy", "accuracy", ""),
        ("39", "Failures", "failures", "discuss the worst cases shown"),
        ("40", "Limits", "limits", "further limits"),
        ("41", "Meaning for practice", "", "intended use; nothing here is fit for diagnosis"),
        ("42", "Full protocol", "protocol", "where it can be read"),
        ("43", "Software, model, data available", "available", "where, and under which licence"),
        ("44", "Funding", "", "sources and their role"),
    ),
    "TRIPOD+AI": (
        ("1", "Title", "", "name the model, population and outcome"),
        ("2", "Abstract", "", "see TRIPOD+AI for abstracts"),
        ("3", "Background, population, inequalities", "", "context, intended users, known inequalities of health"),
        ("4", "Objectives", "", "development, evaluation or both"),
        ("5", "Data: source and dates", "data", "dates and representativeness"),
        ("6", "Participants: setting, eligibility, treatment", "left out", "setting and treatments"),
        ("7", "Preparation of data", "preprocessing", ""),
        ("8", "Outcome", "labels", "its clinical definition and who assessed it"),
        ("9", "Predictors", "predictors", ""),
        ("10", "Sample size", "size", "its justification"),
        ("11", "Missing data", "left out", ""),
        ("12", "Analytical methods", "analysis", ""),
        ("13", "Class imbalance", "imbalance", ""),
        ("14", "Fairness", "", "performance in subgroups, beyond the centres"),
        ("15", "Output of the model", "output", ""),
        ("16", "Differences of training and evaluation data", "differences", "clinical differences"),
        ("17", "Ethical approval", "", "board, number, consent"),
        (
            "18",
            "Open science: funding, conflicts, protocol, data, code",
            "available",
            "funding, conflicts, registration",
        ),
        ("19", "Patients and public", "", "their involvement, or that there was none"),
        ("20", "Participants: flow and characteristics", "flow", "characteristics of patients"),
        ("21", "Number in each analysis", "numbers", ""),
        ("22", "The full model", "available", "where it can be had"),
        ("23", "Performance", "performance", ""),
        ("24", "Updating of the model", "", "say that there was none, if so"),
        ("25", "Interpretation", "", "overall, with fairness"),
        ("26", "Limits", "limits", "further limits"),
        ("27", "Usability in practice", "", "handling of poor input, skills needed, next steps"),
    ),
}
"""List → (number, topic in short words, what the run knows of it, what the authors must add); "" for nothing."""


def known(content: ReportContent, text: Cited) -> dict[str, str]:
    """What the run knows, by topic; a topic that it knows nothing of is not there."""
    parts = dict(text.numbered())
    families = {family_of(m) for m in content.measurements}
    names = {m.name for m in content.measurements}
    real = content.real
    labels = sorted({str(one) for one in real.table["label"].tolist() if str(one)})
    left = [note for note in real.notes if "left out" in note]
    verdicts = claims(content)
    told = {kind: sum(one.kind == kind for one in verdicts) for kind in ("yes", "no", "unknown", "none")}
    has_test = bool(len(real.rows(split="test"))) or bool(content.curves.get("protocol"))
    tests = (
        f"{len(content.measurements)} measurements with intervals where they can be given: evidence.csv and the tables."
    )
    answers = {
        "data": _see(parts, "Data"),
        "left out": f"{len(left)} remarks on patients left out, in the report and rejected.csv." if left
        else "The preparation left no patient out.",
        "preprocessing": _see(parts, "Preprocessing"),
        "selection": _see(parts, "Preprocessing"),
        "labels": f"Labels as prepared: {', '.join(labels)}. Masks: {', '.join(real.mask_names)}." if labels else "",
        "readers": "Agreement of the readers of the images: family readers." if "readers" in families else "",
        "partition": _see(parts, "Partition"),
        "disjoint": "The patient; a guard refuses anything else, and the generator saw no test "
                    "patient." if has_test else "",
        "size": f"{len(real.patients)} patients; the claims table gives the number at which one could tell.",
        "model": _see(parts, "Generative model"),
        "software": _see(parts, "Software and reproducibility"),
        "initial": "Random, by the seed in the recipe." if "Generative model" in parts else "",
        "training": _see(parts, "Generative model"),
        "chosen": _see(parts, "Generative model"),
        "evaluation": _see(parts, "Evaluation"),
        "statistics": _see(parts, "Statistics"),
        "analysis": "Sections Partition, Generative model, Evaluation and Statistics of the methods."
        if "Evaluation" in parts else "",
        "robustness": "Spread over runs and folds with other seeds." if content.curves.get("protocol") else "",
        "explained": "Grad-CAM: share of the heat inside the lesion." if "heat-in-lesion" in names else "",
        "internal": "On held-out patients of the same source." if has_test and content.measurements else "",
        "external": "Every site was left out once." if _left_out_sites(content) else "",
        "flow": f"{len(real.patients)} patients and {len(real)} images were included; the table of the section Data "
                f"gives them "
        "by split.",
        "performance": tests if content.measurements else "",
        "accuracy": "Table 4: accuracy, precision, recall, F1, AUC by training set." if "utility" in families else "",
        "failures": "Galleries show the worst cases at fixed ranks; warnings name what "
                    "failed." if content.synthetic else "",
        "limits": f"Warnings of the report ({len(content.warnings)}); of the study's claims {told['yes']} supported, "
        f"{told['no']} not supported, {told['unknown']} cannot tell, {told['none']} not measured.",
        "protocol": "recipe.yaml and stages.json of the run hold every setting." if content.recipe_yaml else "",
        "available": "The recipe repeats the run; SHA-256 of the weights stand in the "
                     "methods." if content.checksums else "",
        "predictors": f"Channels: {', '.join(real.channels)}.",
        "imbalance": "Every training batch of the classifiers holds both classes equally "
                     "often." if "utility" in families else "",
        "output": "A probability; its threshold is described under Evaluation." if "utility" in families else "",
        "differences": "The table of the section Data gives site and label by split.",
        "numbers": "Patients and images stand with every number.",
    }  # fmt: skip
    return {topic: answer for topic, answer in answers.items() if answer}


def checklist_tables(content: ReportContent, text: Cited) -> list[Table]:
    """Both lists, for the page."""
    answers = known(content, text)
    columns = ("Item", "Topic", "What is known; what is left to the authors")
    return [
        Table(f"{name}, a draft.", columns, tuple((item, topic, said) for item, topic, said in _filled(items, answers)),
              text_columns=3)
        for name, items in LISTS.items()
    ]  # fmt: skip


def checklist_markdown(content: ReportContent, text: Cited) -> str:
    """Both lists as Markdown."""
    answers = known(content, text)
    parts = [
        "# Reporting check-lists, a draft\n\nFilled with what the run knows. Topics are in our own words; compare "
        "the item "
        "numbers with the published lists (Tejani et al. 2024, doi:10.1148/ryai.240300; Collins et al. 2024, "
        "doi:10.1136/bmj-2023-078378) before you submit."
    ]
    for name, items in LISTS.items():
        lines = ["| item | topic | what is known; what is left to the authors |", "|---|---|---|"]
        lines += [f"| {item} | {topic} | {_cell(said)} |" for item, topic, said in _filled(items, answers)]
        parts.append(f"## {name}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _filled(
    items: Sequence[tuple[str, str, str, str]], answers: Mapping[str, str]
) -> list[tuple[str, str, str]]:  # fmt: skip
    filled = []
    for item, topic, key, asked in items:
        answer = answers.get(key, "")
        wanted = asked or ("" if answer else "describe it; this run has nothing to say of it")
        filled.append(
            (item, topic, " ".join(part for part in (answer, f"{AUTHORS}{wanted}." if wanted else "") if part))
        )
    return filled


def _see(parts: Mapping[str, str], heading: str) -> str:
    """A pointer into the methods, where that section is there; the text itself would be printed twice."""
    return f"See the methods, section {heading}." if heading in parts else ""


def _left_out_sites(content: ReportContent) -> bool:
    return (content.curves.get("protocol") or {}).get("design") == "leave-one-site-out"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
