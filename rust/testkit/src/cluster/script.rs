//! Shell variables that are set in front of a script.

/// Returns the value that a script sets at the beginning of a line, unquoted.
pub fn variable(script: &str, name: &str) -> Option<String> {
    let assignment = format!("{name}=");
    let start = if script.starts_with(&assignment) {
        assignment.len()
    } else {
        script.find(&format!("\n{assignment}"))? + 1 + assignment.len()
    };
    let rest = &script[start..];
    match rest.strip_prefix('\'') {
        Some(quoted) => quoted.split('\'').next().map(str::to_owned),
        None => rest.lines().next().map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn a_variable_is_read_where_it_is_set_and_not_where_its_name_is_part_of_another() {
        let script = "from_run=x\nrun=r1\nclaim='fence=2\nrun=r2'\necho\n";
        assert_eq!(variable(script, "run").as_deref(), Some("r1"));
        assert_eq!(variable(script, "claim").as_deref(), Some("fence=2\nrun=r2"));
        assert_eq!(variable(script, "fence").as_deref(), None);
    }
}
