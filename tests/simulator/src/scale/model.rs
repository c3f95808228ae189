//! Predictions for comparison: the model of the design, and the requirements of Weave Net's algorithm.

use super::goals::{CHANGE, CRASH, DEAD, IDLE, KNOWN, LINKS, MEMORY, RESTART, RESTART_BYTES};

/// Results of an event-based model of the design: N, then by measure (ms, KB, s, MB, s).
const MODELLED: [(usize, [f64; 5]); 2] = [
    (100, [318.0, 1.06, 1.2, 0.26, 5.16]),
    (1_000, [380.0, 1.62, 1.0, 4.7, 5.31]),
];
/// Degree of the design in meshes larger than a full mesh.
const DEGREE: f64 = 8.0;

/// Returns the prediction of the design's model at this size: flooding in a random graph of degree 8 (6 for N = 100),
/// links of 10–50 ms, 1 % of segments 200 ms late, records batched for 50 ms. Without a model run, its formulas are
/// used.
pub(crate) fn design(measure: &str, n: usize) -> Option<f64> {
    let column = [KNOWN, CHANGE, RESTART, RESTART_BYTES, CRASH];
    let column = column.iter().position(|goal| goal.0 == measure);
    let row = MODELLED.iter().find(|(size, _)| *size == n);
    if let (Some(column), Some((_, values))) = (column, row) {
        let scale = if column == 0 { 1e-3 } else { 1.0 };
        return values.get(column).map(|value| value * scale);
    }
    let n = size(n);
    let record = 104.0 + 10.0 * DEGREE;
    let change = (DEGREE - 1.0) * (record + 48.0);
    if measure == CHANGE.0 {
        return Some(change / 1e3);
    }
    if measure == IDLE.0 {
        let heartbeats = DEGREE * (2.0 * 60.0 + 16.0 / 5.0);
        return Some((heartbeats + n / 7200.0 * change) / 1e3);
    }
    (measure == MEMORY.0).then(|| n * 1200.0 / f64::from(1 << 20))
}

/// Default number of links of a Weave router: all others, up to its connection limit.
const CONN_LIMIT: usize = 200;
/// Interval of its gossip rounds in seconds.
const ROUND: f64 = 30.0;
/// Largest message in bytes; a larger one ends the connection.
const MESSAGE: f64 = 10.0 * 1024.0 * 1024.0;
/// Time in seconds until its routers declare a silent neighbour dead: six missed heartbeats of ten seconds.
const SILENCE: f64 = 60.0;

/// Returns the bytes of one of its records on the wire, a lower estimate of its size in memory.
fn weave_record(links: f64) -> f64 {
    60.0 + 30.0 * links
}

/// Returns the requirement of Weave's algorithm: the full state to `2·log2 N` neighbours every 30 s, and a changed
/// record to as many, by each router that learns of it.
pub(crate) fn weave(measure: &str, n: usize) -> Option<f64> {
    let links = size(n.saturating_sub(1).min(CONN_LIMIT));
    let record = weave_record(links);
    let state = size(n) * record;
    let fan_out = (2.0 * size(n).log2()).floor();
    if measure == CHANGE.0 {
        return Some(fan_out * record / 1e3);
    }
    if measure == IDLE.0 {
        return (state <= MESSAGE).then_some(fan_out * state / ROUND / 1e3);
    }
    if measure == DEAD.0 {
        return Some(SILENCE);
    }
    if measure == LINKS.0 {
        return Some(links);
    }
    (measure == MEMORY.0).then_some(state / f64::from(1 << 20))
}

fn size(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formulas_give_what_was_reported() {
        let idle = |n| weave(IDLE.0, n).unwrap();
        assert!((300.0..340.0).contains(&idle(150)), "{}", idle(150));
        let change = weave(CHANGE.0, 150).unwrap();
        assert!((62.0..66.0).contains(&change), "{change}");
        assert!((3_700.0..4_000.0).contains(&idle(1_000)));
        assert_eq!(weave(IDLE.0, 10_000), None, "its messages are too long");
        assert_eq!(design(KNOWN.0, 1_000), Some(0.38));
        let idle = design(IDLE.0, 1_000).unwrap();
        assert!((1.0..1.4).contains(&idle), "{idle}");
    }
}
