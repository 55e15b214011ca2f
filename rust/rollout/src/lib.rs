//! Facts gathered, the plan of a deploy, its steps and its journal.
