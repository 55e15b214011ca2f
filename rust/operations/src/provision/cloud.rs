//! Clients of providers, and their errors as failures.

use std::{env, future::Future, sync::Arc, time::Duration};

use machinist_model::Provider;
use machinist_providers::{
    Any, CloudError, any,
    api::Settings,
    token::{self, Source},
};

use crate::{
    context::Context,
    failure::{Failure, Kind, OrFail as _},
};

/// Variable that shortens the seconds of waiting against the test cloud, in milliseconds.
const SECOND: &str = "MACHINIST_CLOUD_SECOND_MS";

/// Returns a client of a provider, with the token of the environment.
///
/// # Errors
/// There is no usable token, or machinist creates no servers there.
pub fn client(context: &Context, provider: Provider) -> Result<Any, Failure> {
    let none = || Failure::new(Kind::Input, "machinist creates no servers at this provider");
    let source = any::source(provider).ok_or_else(none)?;
    Any::new(provider, settings(context, source)?).map_err(|error| failure(&error))?.ok_or_else(none)
}

/// Returns the settings of a client, with the token and the endpoint of the environment.
///
/// # Errors
/// There is no usable token.
pub fn settings(context: &Context, source: &Source) -> Result<Settings, Failure> {
    let environment = |name: &str| env::var(name).ok();
    let endpoint = token::endpoint(source, &environment).map_err(|error| failure(&error))?;
    let token = token::token(source, &environment).map_err(|error| failure(&error))?;
    let interrupt = context.interrupt.clone();
    // Only where the endpoint is this computer: a provider's limits count in real seconds.
    let local = endpoint.scheme() == "http";
    let short = environment(SECOND).filter(|_| local).and_then(|text| text.parse().ok());
    let second = short.map_or(Duration::from_secs(1), Duration::from_millis);
    Ok(Settings { endpoint, token, interrupted: Arc::new(move || interrupt.is_set()), second })
}

/// Returns true if the environment has a token of the provider.
pub fn has_token(provider: Provider) -> bool {
    let environment = |name: &str| env::var(name).ok();
    any::source(provider).is_some_and(|source| token::token(source, &environment).is_ok())
}

/// Runs requests to the end.
///
/// # Errors
/// The requests' error.
pub fn runtime<T>(context: &Context, work: impl Future<Output = Result<T, CloudError>>) -> Result<T, Failure> {
    context.stop_here()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().failed()?;
    runtime.block_on(work).map_err(|error| failure(&error))
}

/// Returns an error of a provider as a failure.
pub fn failure(error: &CloudError) -> Failure {
    let kind = match error {
        CloudError::NoToken { .. } | CloudError::BadToken { .. } | CloudError::BadEndpoint { .. } => Kind::Input,
        CloudError::Quota { .. } | CloudError::SoldOut { .. } | CloudError::ReadOnly { .. } => Kind::Refused,
        _ => Kind::Failed,
    };
    Failure::from_error(kind, error).maybe_hint(error.hint())
}

#[cfg(test)]
mod tests {
    use machinist_environment::TOKENS;
    use machinist_model::Provider;
    use machinist_providers::any;

    #[test]
    fn no_program_inherits_the_token_of_a_provider() {
        let sources: Vec<_> = [Provider::Hetzner, Provider::Digitalocean].into_iter().filter_map(any::source).collect();
        assert_eq!(sources.len(), 2);
        for source in sources {
            for variable in source.others.iter().chain([&source.variable]) {
                assert!(TOKENS.contains(variable), "{variable}: not in machinist_environment::TOKENS");
            }
        }
    }
}
