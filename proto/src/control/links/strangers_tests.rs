//! Budgets of strangers: each source has its own share, and who is known needs none.

use super::*;

fn source(n: u32) -> Source {
    Source::V4(n.to_be_bytes())
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos((1_000_000 + millis) * 1_000_000)
}

const fn stranger() -> bool {
    false
}

const fn known() -> bool {
    true
}

#[test]
fn one_source_has_its_share_and_leaves_others_theirs() {
    let mut strangers = Strangers::default();
    let open = (0..10_000).filter(|_| strangers.knock(source(1), stranger, at(0)) == Knock::Open);
    assert_eq!(open.count() as u64, ACCEPT_BURST_PER_SOURCE);
    assert_eq!(strangers.knock(source(2), stranger, at(0)), Knock::Open);
    assert_eq!(strangers.knock(source(1), known, at(0)), Knock::Open);
    assert_eq!(strangers.refused().0, 10_000 - ACCEPT_BURST_PER_SOURCE);
    assert_eq!(strangers.knock(source(1), stranger, at(1_000)), Knock::Open);
}

#[test]
fn many_sources_share_a_budget_and_the_table_is_bounded() {
    let mut strangers = Strangers::default();
    let open = (0..10_000).filter(|n| strangers.knock(source(*n), stranger, at(0)) == Knock::Open);
    assert_eq!(open.count() as u64, ACCEPT_BURST);
    assert_eq!(strangers.len(), MAX_CALLERS);
    assert_eq!(strangers.knock(source(99_999), known, at(0)), Knock::Open);
}

#[test]
fn each_wrong_secret_doubles_the_wait_up_to_a_minute() {
    let mut strangers = Strangers::default();
    let mut now = 0;
    let mut guesses = 0;
    // As fast as it goes, for an hour.
    while now < 3_600_000 {
        match strangers.knock(source(1), stranger, at(now)) {
            Knock::Open => {
                strangers.failed(source(1), at(now));
                guesses += 1;
            }
            Knock::Penalised | Knock::Refused => {}
        }
        now += 100;
    }
    assert!((60..=66).contains(&guesses), "{guesses}");
    assert_eq!(strangers.knock(source(2), stranger, at(now)), Knock::Open);
    let later = now + 601_000;
    strangers.failed(source(1), at(later));
    assert_eq!(
        strangers.knock(source(1), stranger, at(later + 1_001)),
        Knock::Open,
        "it begins again"
    );
}

#[test]
fn a_known_source_is_forgiven_a_few_and_no_more() {
    let mut strangers = Strangers::default();
    for _ in 0..WRONG_SECRETS_FORGIVEN {
        strangers.failed(source(1), at(0));
        assert_eq!(strangers.knock(source(1), known, at(0)), Knock::Open);
    }
    strangers.failed(source(1), at(0));
    assert_eq!(strangers.knock(source(1), known, at(0)), Knock::Penalised);
}

#[test]
fn guesses_from_many_sources_share_a_budget() {
    let mut strangers = Strangers::default();
    let mut guesses = 0;
    for n in 0..10_000 {
        // Ten thousand sources in ten seconds, each once.
        let now = at(u64::from(n));
        if strangers.knock(source(n), stranger, now) == Knock::Open {
            strangers.failed(source(n), now);
            guesses += 1;
        }
    }
    assert!(
        guesses <= WRONG_SECRET_BURST + 10 * WRONG_SECRET_RATE + 1,
        "{guesses}"
    );
    assert_eq!(
        strangers.knock(source(99_999), known, at(10_000)),
        Knock::Open
    );
}
