//! The table: each measure next to its goal.

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use super::types::{FIELDS, GIANT, NAMED, Shape};
use super::{Finding, House, calls, cycles, names, sizes, types, wording};

/// The measures that can be listed place by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Product files that are not pure
    PureShare,
    /// Types of too many lines or files
    Types,
    /// Files that call each other within one type
    Calls,
    /// Cycles of modules, arrow by arrow
    Cycles,
    /// Folders of too many files
    Folders,
    /// Type names that stand for more than one type
    Names,
    /// Doc comments that begin with a question word
    Docs,
    /// Words of a private language
    Words,
    /// Functions that are too long
    Functions,
    /// Files that are too long
    Files,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreRow {
    /// The measure that lists its places.
    pub measure: Measure,
    /// The thing measured.
    pub what: String,
    /// The value as text.
    pub now: String,
    /// The goal as text.
    pub goal: String,
    /// True if the goal is met.
    pub is_met: bool,
    /// The value as data.
    pub figures: BTreeMap<&'static str, usize>,
}

/// All rows.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Scorecard {
    /// One row per measure, and one per listed type.
    pub rows: Vec<ScoreRow>,
}

/// Files that a folder may have.
const FOLDER: usize = 12;
/// Type names that may stand for more than one type.
const REUSED: usize = 20;
/// Share of doc comments that may begin with a question word, in per cent.
const QUESTIONS: usize = 5;
/// Pure code, in per cent.
const PURE: usize = 70;
/// Functions that may be long.
const LONG_FUNCTIONS: usize = 8;

impl Scorecard {
    /// Computes all measures.
    pub fn of(house: &House) -> Self {
        let mut rows = vec![pure_share(house)];
        let shapes = types::shapes(house);
        rows.extend(types::shown(&shapes).into_iter().map(shape));
        rows.push(giants(&shapes));
        rows.push(mutual(house));
        rows.extend(cycles_of_levels(house));
        rows.push(folder(house));
        rows.push(reused(house));
        rows.push(questions(house));
        rows.push(words(house));
        rows.push(long(
            Measure::Functions,
            format!("functions of more than {} lines", sizes::FUNCTION),
            &sizes::long_functions(house),
            LONG_FUNCTIONS,
        ));
        rows.push(long(
            Measure::Files,
            format!("files of more than {} lines", sizes::FILE),
            &sizes::long_files(house),
            0,
        ));
        Self { rows }
    }

    /// Returns whether all goals are met.
    pub fn is_met(&self) -> bool {
        self.rows.iter().all(|row| row.is_met)
    }
}

impl Measure {
    /// Lists the places that count against the measure.
    pub fn list(self, house: &House) -> Vec<Finding> {
        match self {
            Self::PureShare => sizes::impure(house),
            Self::Types => types::giants(house),
            Self::Calls => calls::listed(&calls::mutual(house)),
            Self::Cycles => cycles::listed(&cycles::cycles(house)),
            Self::Folders => full_folders(house),
            Self::Names => names::names(house).listed(),
            Self::Docs => wording::docs(house).questions,
            Self::Words => wording::private_words(house),
            Self::Functions => sizes::long_functions(house),
            Self::Files => sizes::long_files(house),
        }
    }
}

fn pure_share(house: &House) -> ScoreRow {
    let share = sizes::pure_share(house);
    let sizes::Share { pure, all } = share;
    ScoreRow {
        measure: Measure::PureShare,
        what: "pure share of the product without router/sys".to_owned(),
        now: format!("{} % ({pure} of {all} lines)", share.percent()),
        goal: format!("≥ {PURE} %"),
        is_met: share.percent() >= PURE,
        figures: [("percent", share.percent()), ("pure", pure), ("all", all)].into(),
    }
}

fn shape(shape: &Shape) -> ScoreRow {
    let Shape {
        fields,
        lines,
        files,
        ..
    } = *shape;
    let is_named = NAMED.contains(&shape.name.as_str());
    let most = if is_named {
        format!("≤ {FIELDS} / ")
    } else {
        "any / ".to_owned()
    };
    ScoreRow {
        measure: Measure::Types,
        what: format!("{} ({}): fields / lines / files", shape.name, shape.package),
        now: format!("{fields} / {lines} / {files}"),
        goal: format!("{most}≤ {} / ≤ {}", GIANT.0, GIANT.1),
        is_met: !shape.is_giant() && (!is_named || fields <= FIELDS),
        figures: [("fields", fields), ("lines", lines), ("files", files)].into(),
    }
}

fn giants(shapes: &[Shape]) -> ScoreRow {
    let giants = shapes.iter().filter(|shape| shape.is_giant()).count();
    let what = format!("types of more than {} lines or {} files", GIANT.0, GIANT.1);
    count(Measure::Types, what, giants, "", 0)
}

fn mutual(house: &House) -> ScoreRow {
    let pairs = calls::mutual(house);
    let by_type = in_words(&calls::by_type(&pairs));
    let what = "pairs of files that call each other in one type".to_owned();
    count(Measure::Calls, what, pairs.len(), &by_type, 0)
}

fn cycles_of_levels(house: &House) -> [ScoreRow; 2] {
    let cycles = cycles::cycles(house);
    [(true, "top modules"), (false, "sibling modules")].map(|(is_top, level)| {
        let found = cycles.iter().filter(|cycle| cycle.is_top() == is_top);
        let mut by_crate: BTreeMap<&str, usize> = BTreeMap::new();
        let mut modules = 0;
        for cycle in found.clone() {
            *by_crate.entry(&cycle.package).or_default() += 1;
            modules += cycle.modules.len();
        }
        let by_crate: Vec<_> = by_crate.into_iter().collect();
        let what = format!("cycles of {level}");
        let mut row = count(
            Measure::Cycles,
            what,
            found.count(),
            &in_words(&by_crate),
            0,
        );
        row.figures.insert("modules", modules);
        row
    })
}

fn folder(house: &House) -> ScoreRow {
    let folders = sizes::folders(house);
    let (folder, files) = folders.first().cloned().unwrap_or_default();
    let what = "files in one folder of the product, most".to_owned();
    count(Measure::Folders, what, files, &folder, FOLDER)
}

fn full_folders(house: &House) -> Vec<Finding> {
    let full = sizes::folders(house).into_iter();
    full.filter(|(_, files)| *files > FOLDER)
        .map(|(file, files)| Finding {
            file,
            line: 0,
            what: format!("{files} files"),
        })
        .collect()
}

fn reused(house: &House) -> ScoreRow {
    let names = names::names(house);
    let reused = names.reused().len();
    let what = "type names that stand for more than one type".to_owned();
    let mut row = count(Measure::Names, what, reused, "", REUSED);
    row.now = format!("{reused} of {}", names.total());
    row.figures.insert("names", names.total());
    row
}

fn questions(house: &House) -> ScoreRow {
    let docs = wording::docs(house);
    let (percent, questions) = (docs.percent(), docs.questions.len());
    ScoreRow {
        measure: Measure::Docs,
        what: "doc comments that begin with What/Whether/Who/How/Where".to_owned(),
        now: format!("{percent} % ({questions} of {})", docs.total),
        goal: format!("≤ {QUESTIONS} %"),
        is_met: percent <= QUESTIONS,
        figures: [
            ("percent", percent),
            ("count", questions),
            ("docs", docs.total),
        ]
        .into(),
    }
}

fn words(house: &House) -> ScoreRow {
    let found = wording::private_words(house);
    let by_word = wording::by_word(&found);
    let by_word: Vec<_> = by_word
        .iter()
        .map(|(word, n)| (word.as_str(), *n))
        .collect();
    let what = "words of a private language".to_owned();
    count(Measure::Words, what, found.len(), &in_words(&by_word), 0)
}

fn long(measure: Measure, what: String, found: &[Finding], most: usize) -> ScoreRow {
    count(measure, what, found.len(), "", most)
}

/// Returns a row for a count with the limit `most`.
fn count(measure: Measure, what: String, count: usize, detail: &str, most: usize) -> ScoreRow {
    let now = if detail.is_empty() {
        count.to_string()
    } else {
        format!("{count} ({detail})")
    };
    let goal = match most {
        0 => "0".to_owned(),
        _ => format!("≤ {most}"),
    };
    ScoreRow {
        measure,
        what,
        now,
        goal,
        is_met: count <= most,
        figures: [("count", count)].into(),
    }
}

fn in_words(counts: &[(&str, usize)]) -> String {
    let counted = counts.iter().filter(|(_, count)| *count > 0);
    let words: Vec<String> = counted.map(|(name, n)| format!("{name} {n}")).collect();
    words.join(", ")
}

impl fmt::Display for Scorecard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: fn(&ScoreRow) -> &str| {
            let widths = self.rows.iter().map(|row| column(row).chars().count());
            widths.max().unwrap_or(0)
        };
        let (what, now, goal) = (width(|r| &r.what), width(|r| &r.now), width(|r| &r.goal));
        for row in &self.rows {
            let verdict = if row.is_met { "ok" } else { "missed" };
            writeln!(
                f,
                "{:what$}  {:now$}  {:goal$}  {verdict}",
                row.what, row.now, row.goal
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::house;
    use super::*;

    fn good() -> House {
        house(&[
            (
                "proto/src/lib.rs",
                "pub struct Control { a: u8 }\nimpl Control {}\n",
            ),
            ("cli/src/main.rs", ""),
        ])
    }

    #[test]
    fn a_good_house_meets_every_goal() {
        let table = Scorecard::of(&good());
        assert!(table.is_met(), "{table}");
        assert_eq!(table.rows.len(), 12);
    }

    #[test]
    fn each_goal_can_be_missed_and_its_offenders_listed() {
        let fields: String = (0..=FIELDS).map(|n| format!("f{n}: u8,")).collect();
        let mut files = vec![
            ("proto/src/lib.rs".to_owned(), "pub struct Big;".to_owned()),
            (
                "cli/src/main.rs".to_owned(),
                format!(
                    "mod a; mod b; pub struct Control {{ {fields} }}\n\
                     struct Big;\nimpl Big {{\n{}fn z() {{\n{}}}\n}}\n{}",
                    "fn a() {}\n".repeat(GIANT.0),
                    "a();\n".repeat(sizes::FUNCTION),
                    (0..FOLDER).map(|n| format!("mod m{n};\n")).collect::<String>()
                ),
            ),
            (
                "cli/src/a.rs".to_owned(),
                "/// What.\nuse crate::b::B; impl crate::Control { fn a(&self) { self.b() } }".to_owned(),
            ),
            (
                "cli/src/b.rs".to_owned(),
                "mod x; mod y; pub struct B(crate::a::A); impl crate::Control { fn b(&self) { self.a() } }".to_owned(),
            ),
            ("cli/src/b/x.rs".to_owned(), "struct X(super::y::Y);".to_owned()),
            ("cli/src/b/y.rs".to_owned(), "struct Y(super::x::X);".to_owned()),
            ("README.md".to_owned(), ["an", "ew"].concat()),
        ];
        files.extend((0..FOLDER).map(|n| (format!("cli/src/m{n}.rs"), String::new())));
        for n in 0..=REUSED {
            files[0].1.push_str(&format!("struct S{n};"));
            files[1].1.push_str(&format!("struct S{n};"));
        }
        for n in 0..LONG_FUNCTIONS {
            let body = "a();\n".repeat(sizes::FUNCTION);
            files[1].1.push_str(&format!("fn l{n}() {{\n{body}}}\n"));
        }
        let house = House::of(files.into_iter().collect()).expect("these sources can be parsed");
        let table = Scorecard::of(&house);
        for row in &table.rows {
            assert!(!row.is_met, "{}: {}", row.what, row.now);
            assert!(!row.measure.list(&house).is_empty(), "{}", row.what);
        }
        assert!(!table.is_met());
    }

    #[test]
    fn the_columns_are_aligned() {
        let text = Scorecard::of(&good()).to_string();
        let ends: Vec<usize> = text
            .lines()
            .filter_map(|line| line.strip_suffix("ok"))
            .map(|line| line.chars().count())
            .collect();
        assert_eq!(ends.len(), 12);
        assert!(ends.iter().all(|end| *end == ends[0]), "{text}");
    }
}
