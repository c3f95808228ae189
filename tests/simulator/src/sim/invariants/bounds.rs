//! I10: every table stays within its bound.

use mesh_proto::limits::{RECORD_BURST, RECORD_RATE};
use mesh_proto::time::Instant;

use super::{Check, Violation};

const NAME: &str = "I10 bounds";

/// Size of a table, and its bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) table: &'static str,
    pub(crate) used: usize,
    pub(crate) bound: usize,
}

/// Returns the number of accepted records, and the bound that rate limits impose with at most `origins` routers.
pub(crate) fn records(taken: u64, origins: usize, now: Instant) -> Fill {
    let each = RECORD_BURST + RECORD_RATE * (now.since(Instant::ZERO).as_secs() + 1);
    let all = origins as u64 * each;
    Fill {
        table: "records taken",
        used: usize::try_from(taken).unwrap_or(usize::MAX),
        bound: usize::try_from(all).unwrap_or(usize::MAX),
    }
}

/// Checks the tables of one router.
pub(crate) fn check(router: usize, tables: &[Fill]) -> Check {
    match tables.iter().find(|t| t.used > t.bound) {
        None => Ok(()),
        Some(Fill { table, used, bound }) => {
            let detail =
                format!("router {router}: {table} holds {used}, at most {bound} are allowed");
            Err(Violation::new(NAME, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_at_a_rate() {
        let now = Instant::from_nanos(9_000_000_000);
        assert_eq!(records(3, 2, now).bound, 2 * (32 + 80));
        assert!(check(0, &[records(225, 2, now)]).is_err());
    }

    #[test]
    fn a_bound_is_inclusive() {
        let fill = |used| Fill {
            table: "links",
            used,
            bound: 3,
        };
        assert!(check(0, &[fill(1), fill(3)]).is_ok());
        assert!(check(0, &[fill(1), fill(4)]).is_err());
    }
}
