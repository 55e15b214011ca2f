//! Tokens of ssh_config(5), TOKENS and ENVIRONMENT VARIABLES, in the settings that `ssh -G` prints unexpanded:
//! IdentityFile, CertificateFile and ProxyCommand. Pure.

/// The values of the tokens, from OpenSSH itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Context {
    /// `~` and `%d`: the home directory of this process' user.
    pub home: String,
    /// `%u`, `%i`, `%L`, `%l` and `%C`, in this order.
    pub here: [String; 5],
    /// `%n`: the name as given.
    pub original: String,
    /// `%h`: the name after `HostName`.
    pub host: String,
    /// `%p`.
    pub port: String,
    /// `%r`.
    pub user: String,
    /// `%j`: the jump hosts.
    pub jump: String,
    /// `%k`: `HostKeyAlias`, otherwise the name as given.
    pub key_name: String,
}

impl Context {
    fn token(&self, letter: char) -> Option<&str> {
        let [user, uid, short, long, hash] = &self.here;
        Some(match letter {
            '%' => "%",
            'd' => &self.home,
            'u' => user,
            'i' => uid,
            'L' => short,
            'l' => long,
            'C' => hash,
            'n' => &self.original,
            'h' => &self.host,
            'p' => &self.port,
            'r' => &self.user,
            'j' => &self.jump,
            'k' => &self.key_name,
            _ => return None,
        })
    }
}

/// Expands a file name: a leading `~`, tokens, and `${VARIABLE}`.
///
/// # Errors
/// The reason, in cases where OpenSSH would fail, too.
pub(crate) fn expand(
    text: &str,
    context: &Context,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let (mut expanded, mut rest) = match text.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => (context.home.clone(), rest),
        Some(_) => return Err(format!("the home directory of another user, in {text}, is not supported")),
        None => (String::new(), text),
    };
    while let Some(start) = rest.find(['%', '$']) {
        expanded.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = token(after, context, &mut expanded)?;
        } else if let Some((name, after)) = rest.strip_prefix("${").and_then(|inner| inner.split_once('}')) {
            let value = variable(name).ok_or_else(|| format!("the environment variable {name} is not set"))?;
            expanded.push_str(&value);
            rest = after;
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Expands the tokens of a ProxyCommand; everything else is left to its shell.
///
/// # Errors
/// The reason, in cases where OpenSSH would fail, too.
pub(crate) fn expand_proxy_command(text: &str, context: &Context) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        expanded.push_str(before);
        rest = token(after, context, &mut expanded)?;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Appends the value of the token at the start of `text`; returns the rest.
fn token<'a>(text: &'a str, context: &Context, expanded: &mut String) -> Result<&'a str, String> {
    let letter = text.chars().next().ok_or("a single % at the end")?;
    let value = context.token(letter).ok_or_else(|| format!("the token %{letter} is unknown"))?;
    expanded.push_str(value);
    Ok(&text[letter.len_utf8()..])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn context() -> Context {
        Context {
            home: "/home/me".into(),
            here: ["me", "1000", "box", "box.example", "c0ffee"].map(str::to_owned),
            original: "node".into(),
            host: "10.0.0.2".into(),
            port: "2200".into(),
            user: "admin".into(),
            jump: "gate".into(),
            key_name: "node".into(),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let variable = |name: &str| (name == "KEYS").then(|| "/keys".to_owned());
        let found = expand(text, &context(), &variable);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
    }

    #[test]
    fn file_names_are_expanded_as_openssh_expands_them() {
        check("~/.ssh/%h-%p", Ok("/home/me/.ssh/10.0.0.2-2200"));
        check("%d/%u/%r/%n/%L/%l/%i/%C/%j/%k", Ok("/home/me/me/admin/node/box/box.example/1000/c0ffee/gate/node"));
        check("${KEYS}/100%%/a $b ${", Ok("/keys/100%/a $b ${"));
        check("/a/~/b", Ok("/a/~/b"));
        check("~", Ok("/home/me"));
        check("~other/key", Err("the home directory of another user, in ~other/key, is not supported"));
        check("${NONE}/key", Err("the environment variable NONE is not set"));
        check("/a/%x", Err("the token %x is unknown"));
        check("/a/%", Err("a single % at the end"));
        check("/a/%ü", Err("the token %ü is unknown"));
    }

    #[test]
    fn a_proxy_command_keeps_what_is_its_shells() {
        let expand = |text| expand_proxy_command(text, &context());
        assert_eq!(expand("nc '%h' %p ~/${X} $1 %% %r@%n").unwrap(), "nc '10.0.0.2' 2200 ~/${X} $1 % admin@node");
        assert!(expand("nc %z").is_err());
    }
}
