//! Which proxy a client goes through, and for what.

mod bypass;
mod credentials;
mod environment;
mod settings;
mod url;

pub use bypass::{NoProxy, ParseNoProxyError};
pub use credentials::{Credentials, ParseCredentialsError};
pub use environment::{EnvironmentError, proxy_from_environment};
pub use settings::{ProxySettings, ProxySource};
pub use url::{ParseProxyError, ProxyScheme, ProxyUrl};
