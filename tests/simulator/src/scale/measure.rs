//! Measures of the table, taken one after another on one mesh.

use super::measured::{Measured, REST};
use super::memory::resident;
use super::plan::{MANY, MeshPlan};
use super::{faults, link_change, settled};

/// Measures of a very large mesh that must be requested: many or all routers announce all records again, which takes
/// hours and more memory than most machines have.
const HEAVY: [&str; 3] = ["restart of all", "crash of 10 %", "partition"];

/// Name of a measure, and its function.
type MeasureStep = (&'static str, fn(&mut Measured));

/// Measures a mesh of `plan.hosts` routers; only the measures whose names start with one of `only`, unless that is
/// empty. `say` receives the progress.
pub(crate) fn table(plan: MeshPlan, only: &[String], say: &mut dyn FnMut(&str)) -> Measured {
    let before = resident();
    let mut measured = Measured::new(plan);
    measured.begin(plan, say);
    measured.world.run(REST);
    let steps: [MeasureStep; 8] = [
        ("idle", settled::idle),
        ("names", settled::names),
        ("broadcasts", settled::broadcasts),
        ("link changes", link_change::changes),
        ("dead neighbours", faults::deaths),
        ("restart of all", faults::restart),
        ("crash of 10 %", faults::crash),
        ("partition", faults::partition),
    ];
    let is_wanted = |name: &str| match only {
        [] => plan.hosts <= MANY || !HEAVY.contains(&name),
        _ => only.iter().any(|o| name.starts_with(o)),
    };
    if only.is_empty() && plan.hosts > MANY {
        let left_out = HEAVY.join(", ");
        say(&format!(
            "of more than {MANY} routers only when asked for: {left_out}"
        ));
    }
    let wanted = steps.into_iter().filter(|(name, _)| is_wanted(name));
    for (number, (name, step)) in wanted.enumerate() {
        if number > 0 {
            measured.put_right();
        }
        let known = measured.figures.len();
        step(&mut measured);
        if name == "idle" {
            settled::memory(&mut measured, before, plan.at_rest);
        }
        let now = measured.world.now.as_nanos() / 1_000_000_000;
        say(&format!("{name}: measured, virtual time {now} s"));
        // Printed at once, so that an interrupted run has shown its results.
        for figure in measured.figures.iter().skip(known) {
            say(&format!("  {figure}"));
        }
        if measured.world.broken.is_some() {
            break;
        }
    }
    measured
}
