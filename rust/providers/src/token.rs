//! API token and endpoint of a provider, from the environment.

use std::{fs, net::IpAddr, path::Path};

use reqwest::Url;
use zeroize::Zeroizing;

use crate::error::{CloudError, cleaned};

/// Longest token, in bytes.
const LONGEST: usize = 4096;

/// Where a provider's settings come from.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// The provider's name for people.
    pub provider: &'static str,
    /// Environment variable with the token. With the suffix `_FILE`, that of a file which holds it.
    pub variable: &'static str,
    /// Other variables with the token, as the provider's own programs name it. Read where neither of the above is set.
    pub others: &'static [&'static str],
    /// Environment variable with the base URL of the API, for tests and proxies.
    pub endpoint_variable: &'static str,
    /// Base URL of the API, without a final slash.
    pub endpoint: &'static str,
}

/// Reads variables of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads the token. It is wiped from memory at its end, and never part of an error.
///
/// # Errors
/// There is no token, its file cannot be read, or it holds characters that a header cannot.
pub fn token(source: &Source, environment: Environment<'_>) -> Result<Zeroizing<String>, CloudError> {
    let Source { provider, variable, .. } = *source;
    let bad = |reason: String| CloudError::BadToken { provider, variable, reason };
    let set = |name: &str| environment(name).filter(|token| !token.trim().is_empty());
    let text = match (set(variable), environment(&format!("{variable}_FILE"))) {
        (Some(token), _) => Zeroizing::new(token),
        (None, Some(file)) => {
            let text = fs::read_to_string(Path::new(&file));
            Zeroizing::new(text.map_err(|error| bad(format!("{}: {error}", cleaned(&file))))?)
        }
        (None, None) => match source.others.iter().find_map(|name| set(name)) {
            Some(token) => Zeroizing::new(token),
            None => return Err(CloudError::NoToken { provider, variable }),
        },
    };
    let token = Zeroizing::new(text.trim().to_owned());
    if token.is_empty() {
        return Err(bad("it is empty".to_owned()));
    }
    if token.len() > LONGEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("it has spaces or other characters that no token has".to_owned()));
    }
    Ok(token)
}

/// Returns the base URL of the API: the provider's, or another one of the environment.
///
/// # Errors
/// It is not a URL, or would send the token in clear text to another computer.
pub fn endpoint(source: &Source, environment: Environment<'_>) -> Result<Url, CloudError> {
    let text = environment(source.endpoint_variable).unwrap_or_else(|| source.endpoint.to_owned());
    let bad = |reason| CloudError::BadEndpoint { endpoint: cleaned(&text), variable: source.endpoint_variable, reason };
    let url = Url::parse(text.trim_end_matches('/')).map_err(|_| bad("it is not a URL"))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        "http" => Err(bad("the token would be sent in clear text")),
        _ => Err(bad("its scheme is not https")),
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::{Source, endpoint, token};

    const SOURCE: Source = Source {
        provider: "Cloud",
        variable: "CLOUD_TOKEN",
        others: &["CLOUD_ACCESS_TOKEN"],
        endpoint_variable: "CLOUD_ENDPOINT",
        endpoint: "https://api.example.com/v1",
    };

    fn read(variables: &[(&str, &str)]) -> Result<String, String> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        let environment = |name: &str| variables.get(name).map(|value| (*value).to_owned());
        token(&SOURCE, &environment)
            .map(|token| token.to_string())
            .map_err(|error| format!("{error}; {}", error.hint().unwrap_or_default()))
    }

    #[test]
    fn a_token_comes_from_the_variable_or_from_the_file_that_another_one_names() {
        let file = std::env::temp_dir().join(format!("machinist-token-{}", std::process::id()));
        std::fs::write(&file, "of-a-file\n").unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(read(&[("CLOUD_TOKEN", " abc\n")]).unwrap(), "abc");
        assert_eq!(read(&[("CLOUD_TOKEN_FILE", path)]).unwrap(), "of-a-file");
        assert_eq!(read(&[("CLOUD_TOKEN", ""), ("CLOUD_TOKEN_FILE", path)]).unwrap(), "of-a-file");
        // The name of the provider's own command line comes last.
        assert_eq!(read(&[("CLOUD_ACCESS_TOKEN", "other"), ("CLOUD_TOKEN_FILE", path)]).unwrap(), "of-a-file");
        assert_eq!(read(&[("CLOUD_ACCESS_TOKEN", "other"), ("CLOUD_TOKEN", " ")]).unwrap(), "other");
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_missing_or_broken_token_names_its_variable_and_never_itself() {
        let error = read(&[]).unwrap_err();
        assert!(error.contains("no API token of Cloud") && error.contains("CLOUD_TOKEN_FILE"), "{error}");
        let error = read(&[("CLOUD_TOKEN", "sec ret")]).unwrap_err();
        assert!(error.contains("CLOUD_TOKEN") && !error.contains("sec"), "{error}");
        assert!(read(&[("CLOUD_TOKEN_FILE", "/nonexistent/token")]).unwrap_err().contains("/nonexistent/token"));
    }

    #[test]
    fn a_token_is_never_sent_in_clear_text_to_another_computer() {
        let at = |url: &str| {
            let url = url.to_owned();
            endpoint(&SOURCE, &move |name: &str| (name == "CLOUD_ENDPOINT").then(|| url.clone()))
        };
        assert_eq!(endpoint(&SOURCE, &|_: &str| None).unwrap().as_str(), "https://api.example.com/v1");
        for url in
            ["https://proxy.example.com/v1/", "http://127.0.0.1:8080/v1", "http://[::1]:80/v1", "http://localhost/v1"]
        {
            at(url).unwrap();
        }
        for url in ["http://api.example.com/v1", "http://127.0.0.1.example.com/v1", "ftp://localhost", "nonsense"] {
            at(url).unwrap_err();
        }
    }
}
