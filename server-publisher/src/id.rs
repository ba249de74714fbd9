//! New command ids: the one place that reads the wall clock and draws secure random numbers.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};
use wakemq_protocol::CommandId;

/// The operating system gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRandomness;

/// Makes a new command id; `None` if the operating system gives no random numbers.
///
/// [`Publisher::submit`](crate::Publisher::submit) does so itself; a program that must find its command again
/// after its own crash makes the id first and writes it down.
#[expect(clippy::disallowed_methods, reason = "a command's id begins with the time of the wall clock")]
pub fn new_command_id() -> Option<CommandId> {
    let random = random().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(CommandId::from_parts(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), &random))
}

/// Makes a name that no other process has: 16 hexadecimal digits.
pub(crate) fn random_name() -> Result<String, NoRandomness> {
    let random: [u8; 8] = random()?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_carry_the_time() {
        let (one, two) = (new_command_id().unwrap(), new_command_id().unwrap());
        assert_ne!(one, two);
        let ms = |id: CommandId| {
            let mut bytes = [0; 8];
            bytes[2..].copy_from_slice(&id.as_bytes()[..6]);
            u64::from_be_bytes(bytes)
        };
        assert!(ms(two) - ms(one) < 60_000 && ms(one) > 1_700_000_000_000);
        assert_ne!(random_name().unwrap(), random_name().unwrap());
    }
}
