//! How the broker is reached, as the command line says it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use wakemq_agent::{Passage, ProxyChoice};

use crate::cli::PassageArgs;
use crate::exit::{Exit, Failure};

/// No CA file is longer.
const CA_MAX: u64 = 256 * 1024;
/// No user name and password are longer.
const CREDENTIALS_MAX: u64 = 4096;

impl PassageArgs {
    /// Puts what was given in place of what there is.
    pub(crate) fn apply(&self, passage: &mut Passage) -> Result<(), Failure> {
        if let Some(proxy) = &self.proxy {
            passage.proxy = proxy.clone();
        }
        if let Some(file) = &self.proxy_credentials
            && let ProxyChoice::Proxy(url) = &passage.proxy
        {
            let text = read_text(file, CREDENTIALS_MAX)?;
            let credentials = text.trim_end_matches(['\r', '\n']).parse().map_err(|error| {
                let error = anyhow::Error::new(error).context(format!("{}", file.display()));
                Failure::new(Exit::Usage, error, "the file holds one line, and nothing of it is encoded")
            })?;
            passage.proxy = ProxyChoice::Proxy(url.clone().with_credentials(Some(credentials)));
        }
        if let Some(order) = self.proxy_order {
            passage.order = order;
        }
        if let Some(file) = &self.extra_ca {
            passage.extra_ca = Some(read_ca(file)?);
        }
        Ok(())
    }
}

/// Reads a file with certificate authorities.
pub(crate) fn read_ca(path: &Path) -> Result<String, Failure> {
    read_text(path, CA_MAX)
}

/// Reads a file of at most so many bytes.
pub(crate) fn read_text(path: &Path, max: u64) -> Result<String, Failure> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(max).read_to_string(&mut text))
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}
