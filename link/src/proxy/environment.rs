//! The proxy that the environment names, as curl and most programs read it.

use super::{NoProxy, ParseProxyError, ProxySettings, ProxyUrl};
use crate::ladder::ProxyUse;

/// The variables that name a proxy; the first that is set counts, and set to nothing it says that there is none.
const PROXY_VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
/// The variables that name what is reached without it.
const NO_PROXY_VARIABLES: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Says which variable of the environment cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// One that names the proxy.
    #[error("the variable {variable}: {error}")]
    Proxy {
        /// Its name.
        variable: &'static str,
        /// What is wrong.
        error: ParseProxyError,
    },
}

/// Reads `https_proxy`, `all_proxy` and `no_proxy`, each also in capital letters, from what `get` returns; a proxy
/// without a scheme is one of HTTP. Of what is reached without it, an entry that is no rule is told and left out: other
/// programs know other rules, and one of those must not cost the proxy.
pub fn proxy_from_environment(
    get: impl Fn(&str) -> Option<String>,
    order: ProxyUse,
) -> Result<ProxySettings, EnvironmentError> {
    let first = |names: &[&'static str]| {
        let found = names.iter().find_map(|&name| get(name).map(|text| (name, text.trim().to_owned())));
        found.filter(|(_, text)| !text.is_empty())
    };
    let Some((variable, text)) = first(&PROXY_VARIABLES) else { return Ok(ProxySettings::none()) };
    let text = if text.contains("://") { text } else { format!("http://{text}") };
    let url: ProxyUrl = text.parse().map_err(|error| EnvironmentError::Proxy { variable, error })?;
    let no_proxy = match first(&NO_PROXY_VARIABLES) {
        None => NoProxy::default(),
        Some((variable, text)) => {
            let (rules, errors) = NoProxy::lenient(&text);
            for error in errors {
                tracing::warn!(variable, %error, "left out of what is reached without a proxy");
            }
            rules
        }
    };
    Ok(ProxySettings::from_environment(url, order, no_proxy, variable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rung;
    use crate::proxy::ProxySource;

    fn read(variables: &[(&str, &str)]) -> Result<ProxySettings, EnvironmentError> {
        let get = |name: &str| {
            let found = variables.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        proxy_from_environment(get, ProxyUse::First)
    }

    #[test]
    fn the_first_variable_that_is_set_counts() {
        for (variables, expected) in [
            (&[][..], None),
            (&[("HTTP_PROXY", "http://a:1")], None),
            (
                &[("ALL_PROXY", "socks5://a:1"), ("HTTPS_PROXY", "http://b:2")],
                Some(("http://b:2", "HTTPS_PROXY")),
            ),
            (&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "b:2")], Some(("http://b:2", "https_proxy"))),
            (&[("all_proxy", "socks5h://a")], Some(("socks5://a:1080", "all_proxy"))),
            // Set to nothing, it says that there is none.
            (&[("https_proxy", ""), ("ALL_PROXY", "http://a:1")], None),
        ] {
            let settings = read(variables).unwrap();
            let url = settings.url().map(ToString::to_string);
            assert_eq!(url.as_deref(), expected.map(|(url, _)| url), "{variables:?}");
            if let Some((_, variable)) = expected {
                assert_eq!(settings.source(), ProxySource::Environment(variable));
            }
        }
    }

    #[test]
    fn no_proxy_counts_for_what_the_environment_names() {
        let settings = read(&[("https_proxy", "a:1"), ("NO_PROXY", "localhost, .corp")]).unwrap();
        let rung = |host: &str| Rung { host: host.into(), port: 443 };
        assert!(settings.bypasses(&rung("broker.corp")) && !settings.bypasses(&rung("broker.example")));
    }

    #[test]
    fn what_cannot_be_used_names_its_variable_and_no_secret() {
        let error = read(&[("ALL_PROXY", "ftp://me:s3cret@a:1")]).unwrap_err().to_string();
        assert!(error.starts_with("the variable ALL_PROXY: ftp://") && !error.contains("s3cret"), "{error}");
    }

    #[test]
    fn an_entry_that_is_no_rule_costs_neither_the_proxy_nor_the_other_entries() {
        let list = "127.*,<local>,localhost b:0 .corp";
        let settings = read(&[("https_proxy", "a:1"), ("no_proxy", list)]).unwrap();
        assert_eq!(settings.url().map(ToString::to_string).as_deref(), Some("http://a:1"));
        let rung = |host: &str| Rung { host: host.into(), port: 443 };
        assert!(settings.bypasses(&rung("localhost")) && settings.bypasses(&rung("broker.corp")));
        assert!(!settings.bypasses(&rung("broker.example")));
    }
}
