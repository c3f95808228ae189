//! Figures of a run, with their goals.

use std::fmt;

use serde::Serialize;

use super::goals::{self, ScaleGoal};
use super::model;

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Name of the measure.
    pub measure: &'static str,
    /// Value; `None` if the event did not happen within the time limit.
    pub value: Option<f64>,
    /// Unit; empty for counts.
    pub unit: &'static str,
    /// Upper limit for the value.
    pub goal: f64,
    /// True if the goal is met.
    pub met: bool,
    /// Prediction of the design's model, if there is one.
    pub model: Option<f64>,
    /// Computed requirement of Weave's algorithm at this size.
    pub weave: Option<f64>,
    /// Further observations.
    pub detail: String,
}

/// Returns a figure for `n` routers with its goal.
pub(crate) fn figure(goal: &ScaleGoal, n: usize, value: Option<f64>, detail: String) -> Figure {
    let (measure, unit, _) = *goal;
    let most = goals::limit(goal, n);
    Figure {
        measure,
        value,
        unit,
        goal: most,
        met: value.is_some_and(|v| v <= most),
        model: model::design(measure, n),
        weave: model::weave(measure, n),
        detail,
    }
}

impl Figure {
    /// Returns the columns of the table: measure, value, goal, verdict, model, Weave, detail.
    fn columns(&self) -> [String; 7] {
        let with_unit = |v: f64| format!("{} {}", short(v), self.unit).trim_end().to_owned();
        let other = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), with_unit);
        [
            self.measure.to_owned(),
            self.value.map_or_else(|| "never".to_owned(), with_unit),
            format!("≤ {}", with_unit(self.goal)),
            if self.met { "met" } else { "MISSED" }.to_owned(),
            other(self.model),
            other(self.weave),
            self.detail.clone(),
        ]
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [measure, value, goal, verdict, _, _, detail] = self.columns();
        write!(f, "{measure}: {value} ({goal}, {verdict}) {detail}")
    }
}

/// Formats a value with three significant digits.
fn short(value: f64) -> String {
    let places = match value.abs() {
        v if v >= 100.0 || v == v.trunc() => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.places$}")
}

/// A table of figures, as Markdown.
pub struct FigureTable<'a>(pub &'a [Figure]);

impl fmt::Display for FigureTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["measure", "figure", "goal", "", "model", "Weave", "detail"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.0.iter().map(Figure::columns));
        let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        for (number, row) in rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                write!(f, "| {cell:<width$} ", width = *width)?;
            }
            writeln!(f, "|")?;
            if number == 0 {
                for width in &widths {
                    write!(f, "|{}", "-".repeat(width + 2))?;
                }
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::goals::KNOWN;
    use super::*;

    #[test]
    fn goals_follow_the_size_and_a_miss_is_a_miss() {
        let known = |n, value| figure(&KNOWN, n, value, String::new());
        assert!(known(100, Some(0.4)).met && !known(100, Some(0.41)).met);
        assert!(known(500, Some(0.5)).met && known(10_000, Some(0.8)).met);
        assert!(!known(100, None).met);
        assert!(
            FigureTable(&[known(100, None)])
                .to_string()
                .contains("MISSED")
        );
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(0.1234), "0.12");
        assert_eq!(short(12.34), "12.3");
        assert_eq!(short(1234.5), "1234");
        assert_eq!(short(3.0), "3");
    }
}
