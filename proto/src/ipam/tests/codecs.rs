//! What is written is read, and whatever else there is is refused without harm.
