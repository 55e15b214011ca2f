//! The certificate table as data, the plan for it, and its issue.
