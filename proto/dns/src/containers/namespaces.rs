//! Network namespaces in which a DNS server answers: which are joined and left, and what keeps it from answering.

use std::collections::{BTreeMap, BTreeSet};

use mesh_proto::limits::MAX_DNS_NAMESPACES;

/// Port of DNS, as containers use it.
const PORT: u16 = 53;

/// Namespaces in which the server answers; `K` identifies one.
#[derive(Debug)]
pub struct ServedNamespaces<K>(BTreeSet<K>);

impl<K> Default for ServedNamespaces<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Copy> ServedNamespaces<K> {
    /// Drops the namespaces in which the server does not answer any more: it is to be started there again.
    pub fn retain(&mut self, mut is_served: impl FnMut(K) -> bool) {
        self.0.retain(|id| is_served(*id));
    }

    /// Returns true if the server answers in a namespace.
    pub fn contains(&self, id: K) -> bool {
        self.0.contains(&id)
    }

    /// Removes namespaces that are gone, and returns them.
    pub fn leave<V>(&mut self, found: &BTreeMap<K, V>) -> Vec<K> {
        let gone = |id: &&K| !found.contains_key(id);
        let gone: Vec<K> = self.0.iter().filter(gone).copied().collect();
        self.0.retain(|id| !gone.contains(id));
        gone
    }

    /// Enters new namespaces up to the limit, and returns the number left out. Existing ones are never displaced, and one
    /// that cannot be entered does not count.
    pub fn join<V>(
        &mut self,
        found: &BTreeMap<K, V>,
        most: usize,
        mut enter: impl FnMut(K, &V) -> bool,
    ) -> usize {
        let mut left_out = 0;
        for (id, container) in found {
            if self.0.contains(id) {
                continue;
            }
            if self.0.len() >= most {
                left_out += 1;
            } else if enter(*id, container) {
                self.0.insert(*id);
            }
        }
        left_out
    }
}

/// Results of the last check; one line per problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceCheck {
    /// Containers with a DNS server of their own on that port.
    pub taken: Vec<String>,
    /// Failures.
    pub errors: Vec<String>,
    /// Keys of the containers with a server.
    pub served: BTreeSet<String>,
}

impl NamespaceCheck {
    /// Notes that a container has a DNS server of its own.
    pub fn note_taken(&mut self, name: &str) {
        self.taken.push(format!(
            "names are not answered within container {name}: it has a DNS server of its own on port {PORT}; \
             if that is to be so, run it --without-dns"
        ));
    }

    /// Notes that queries of a container cannot be answered.
    pub fn note_error(&mut self, name: &str, error: &dyn core::fmt::Display) {
        self.errors.push(format!(
            "names are not answered within container {name}: {error}"
        ));
    }

    /// Notes the number of namespaces for which there was no room.
    pub fn note_left_out(&mut self, left_out: usize) {
        if left_out > 0 {
            self.errors.push(format!(
                "names are not answered within {left_out} more containers: {MAX_DNS_NAMESPACES} are as many as can be; \
                 run those that ask for no names --without-dns"
            ));
        }
    }

    /// Returns all problems, the failures first.
    pub fn problems(&self) -> Vec<String> {
        self.errors.iter().chain(&self.taken).cloned().collect()
    }

    /// Returns the problems that an earlier check did not have.
    pub fn news(&self, before: &Self) -> Vec<String> {
        let before = before.problems();
        let mut news = self.problems();
        news.retain(|line| !before.contains(line));
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the removed namespaces, those served afterwards, and the number left out; 9 cannot be entered.
    fn looked(serving: &[u8], found: &[u8], most: usize) -> (Vec<u8>, Vec<u8>, usize) {
        let mut serving = ServedNamespaces(serving.iter().copied().collect());
        let found = found.iter().map(|id| (*id, ())).collect();
        let gone = serving.leave(&found);
        let left_out = serving.join(&found, most, |id, ()| id != 9);
        (gone, serving.0.into_iter().collect(), left_out)
    }

    #[test]
    fn who_comes_is_served_and_who_goes_is_not() {
        assert_eq!(looked(&[], &[], 4), (vec![], vec![], 0));
        assert_eq!(looked(&[1, 2], &[2, 3], 4), (vec![1], vec![2, 3], 0));
        assert_eq!(looked(&[1, 2], &[], 4), (vec![1, 2], vec![], 0));
    }

    #[test]
    fn no_more_than_the_bound_and_none_gives_way() {
        assert_eq!(looked(&[], &[1, 2, 3], 2), (vec![], vec![1, 2], 1));
        assert_eq!(looked(&[2, 3], &[1, 2, 3], 2), (vec![], vec![2, 3], 1));
        // A slot that becomes free is used in the same check.
        assert_eq!(looked(&[2, 3], &[1, 3, 4], 2), (vec![2], vec![1, 3], 1));
        // A namespace that cannot be entered blocks no other.
        assert_eq!(looked(&[], &[9, 10, 11], 2), (vec![], vec![10, 11], 0));
    }

    #[test]
    fn each_problem_is_news_once() {
        let mut check = NamespaceCheck::default();
        check.note_left_out(0);
        assert!(check.problems().is_empty());
        check.note_taken("web");
        check.note_error("db", &"denied");
        check.note_left_out(2);
        assert_eq!(check.news(&NamespaceCheck::default()).len(), 3);
        assert!(check.news(&check.clone()).is_empty());
        assert!(check.problems()[0].contains("container db: denied"));
    }
}
