//! SSH sessions to nodes: commands, uploads, host keys.
