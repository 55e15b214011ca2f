//! etcd membership and health: what to run and what the answers mean.
