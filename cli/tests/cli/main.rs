//! The `mesh` program as a user meets it: its output, its exit status, what it asks of the router and of the engines.

mod attach;
mod launch;
mod mistakes;
mod process;
mod run;
mod status;
mod support;
