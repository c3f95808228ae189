//! The script `tests/testbed/testbed.sh`, which makes hosts and runs commands on them.

use anyhow::Result;

use crate::command::{Background, CommandOutput, run_with_env, spawn_with_env};

/// The testbed script, bound to one testbed.
#[derive(Clone, Debug)]
pub(crate) struct TestbedScript {
    testbed: String,
}

impl TestbedScript {
    pub(crate) fn new(testbed: String) -> Self {
        Self { testbed }
    }

    /// Returns the unique name of the testbed.
    pub(crate) fn testbed(&self) -> &str {
        &self.testbed
    }

    fn path() -> String {
        concat!(env!("CARGO_MANIFEST_DIR"), "/testbed/testbed.sh").to_owned()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Result<CommandOutput> {
        run_with_env(&Self::path(), args, &[("TESTBED", &self.testbed)])
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Result<Background> {
        spawn_with_env(&Self::path(), args, &[("TESTBED", &self.testbed)])
    }
}
