//! I10: every table stays within its bound.

use super::{Check, Violation};

const NAME: &str = "I10 bounds";

/// A table's size beside its bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub(crate) table: &'static str,
    pub(crate) used: usize,
    pub(crate) bound: usize,
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
