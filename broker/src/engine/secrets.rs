//! Secrets: made from the system's random source, and known by their hash alone.

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use wakemq_protocol::{AgentId, CommandId, Secret, SecretHash, SecretKind, Timestamp};

use super::EngineError;

pub(super) fn hash_of(secret: &Secret) -> SecretHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret.expose().as_bytes()).as_ref());
    SecretHash(hash)
}

pub(super) fn random_secret(kind: SecretKind) -> Result<Secret, EngineError> {
    Ok(Secret::from_random(kind, &random()?))
}

/// Makes an id for an agent that wishes none: `a-` and 80 random bits.
pub(super) fn random_agent_id() -> Result<AgentId, EngineError> {
    let digits: String = random::<10>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("a-{digits}").parse().map_err(|_| EngineError::Random)
}

pub(super) fn new_command_id(now: Timestamp) -> Result<CommandId, EngineError> {
    Ok(CommandId::from_parts(u64::try_from(now.unix_ms()).unwrap_or(0), &random()?))
}

/// Returns random bytes of the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], EngineError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| EngineError::Random)?;
    Ok(bytes)
}
