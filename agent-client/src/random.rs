//! Random numbers for secrets and names.

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use wakemq_protocol::{Secret, SecretHash, SecretKind};

/// Fills an array with random bytes; an error means that the operating system has none to give.
fn bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let refused = |_| std::io::Error::other("the operating system gives no random numbers");
    SystemRandom::new().fill(&mut bytes).map_err(refused)?;
    Ok(bytes)
}

/// Makes an agent's secret.
pub(crate) fn agent_secret() -> std::io::Result<Secret> {
    Ok(Secret::from_random(SecretKind::Agent, &bytes()?))
}

/// Makes the name of this run of the agent: 128 bits in hexadecimal.
pub(crate) fn instance() -> std::io::Result<String> {
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes()?)))
}

/// Returns the hash by which the broker knows a secret.
pub(crate) fn hash(secret: &Secret) -> SecretHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret.expose().as_bytes()).as_ref());
    SecretHash(hash)
}
