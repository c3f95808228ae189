//! One router, step by step.
