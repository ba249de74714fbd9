//! Enrolment tokens. A token's hash begins with its public id, so that they are listed and found by that.

use serde_json::{Value, json};
use wakemq_protocol::limits::ID_MEMORY_SECS;
use wakemq_protocol::{AgentId, Facts, GroupPath, SecretHash, Timestamp};

use super::audit::{self, Deed};
use super::{agents, groups};
use crate::store::batch::Batch;
use crate::store::kv::{ReadKv, Table, WriteKv, after};
use crate::store::rows::{self, Token};
use crate::store::{Actor, AdminOutcome, StoreError, TokenRow};

/// How many tokens are read at once.
const CHUNK: usize = 256;
/// How many bytes of its hash are a token's public id.
const ID_BYTES: usize = 8;

fn public_id(hash: &[u8]) -> String {
    hash.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(id: &str) -> Option<[u8; ID_BYTES]> {
    let is_id = id.len() == 2 * ID_BYTES && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| u64::from_str_radix(id, 16).ok()).flatten().map(u64::to_be_bytes)
}

fn describe(token: &Token) -> Value {
    json!({ "group": token.group, "uses": token.uses, "uses_left": token.uses_left, "expires": token.expires })
}

/// A day after its expiry nobody asks whether an enrolment has succeeded.
fn forget_key(token: &Token, hash: &[u8]) -> Vec<u8> {
    let at = token.expires.unix_ms() + i64::from(ID_MEMORY_SECS) * 1000;
    [&*rows::time_key(Timestamp::from_unix_ms(at), None), hash].concat()
}

pub(super) fn create(
    batch: &mut Batch<'_>,
    hash: &SecretHash,
    token: &Token,
    actor: Option<&Actor>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    if find(batch, &public_id(&hash.0))?.is_some() {
        return Ok(AdminOutcome::Exists);
    }
    groups::ensure(batch, &token.group, now)?;
    rows::put(batch, Table::Tokens, &hash.0, token)?;
    batch.put(Table::TokenForget, &forget_key(token, &hash.0), &[])?;
    let deed = Deed {
        action: "token.create",
        target: &public_id(&hash.0),
        group: &token.group,
        before: None,
        after: Some(describe(token)),
    };
    audit::note(batch, actor, deed, now)?;
    Ok(AdminOutcome::Done)
}

/// Removes a token; its uses stay, so that whoever used it and got no answer may ask again.
pub(super) fn revoke(
    batch: &mut Batch<'_>,
    id: &str,
    scope: &GroupPath,
    actor: Option<&Actor>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let found = find(batch, id)?.filter(|(_, token)| scope.contains(&token.group));
    let Some((key, token)) = found else { return Ok(AdminOutcome::Unknown) };
    batch.remove(Table::Tokens, &key)?;
    let deed = Deed {
        action: "token.revoke",
        target: id,
        group: &token.group,
        before: Some(describe(&token)),
        after: None,
    };
    audit::note(batch, actor, deed, now)?;
    Ok(AdminOutcome::Done)
}

fn find(kv: &dyn ReadKv, id: &str) -> Result<Option<(Vec<u8>, Token)>, StoreError> {
    let Some(from) = bytes_of(id) else { return Ok(None) };
    let to = [&from[..], &[0xff; 25]].concat();
    let Some((key, value)) = kv.range(Table::Tokens, &from, &to, 1)?.pop() else { return Ok(None) };
    Ok(Some((key, rows::parse(Table::Tokens, &value)?)))
}

pub(super) fn enrol(
    batch: &mut Batch<'_>,
    hash: &SecretHash,
    (agent, secret): (&AgentId, &SecretHash),
    facts: &Facts,
    actor: Option<&Actor>,
    now: Timestamp,
) -> Result<AdminOutcome, StoreError> {
    let use_key = [hash.0, secret.0].concat();
    if let Some(key) = batch.get(Table::Uses, &use_key)? {
        let key = String::from_utf8_lossy(&key);
        let enrolled = rows::agent(batch, &key)?.filter(|row| row.secret == *secret);
        // An agent that was revoked since does not come back by asking again.
        return Ok(enrolled.map_or(AdminOutcome::Unknown, |row| AdminOutcome::Enrolled {
            agent: row.agent,
            group: row.group,
        }));
    }
    let Some(token) = rows::get::<Token>(batch, Table::Tokens, &hash.0)? else {
        return Ok(AdminOutcome::Unknown);
    };
    if now >= token.expires {
        return Ok(AdminOutcome::Expired);
    }
    if token.uses_left == 0 {
        return Ok(AdminOutcome::UsedUp);
    }
    if !agents::create(batch, agent, &token.group, secret, Some(facts), now)? {
        return Ok(AdminOutcome::Exists);
    }
    let deed = Deed {
        action: "agent.enrol",
        target: agent.as_str(),
        group: &token.group,
        before: None,
        after: Some(json!({ "group": token.group, "token": public_id(&hash.0) })),
    };
    audit::note(batch, actor, deed, now)?;
    let outcome = AdminOutcome::Enrolled { agent: agent.clone(), group: token.group.clone() };
    rows::put(batch, Table::Tokens, &hash.0, &Token { uses_left: token.uses_left - 1, ..token })?;
    batch.put(Table::Uses, &use_key, agent.key().as_bytes())?;
    Ok(outcome)
}

/// Finds a token by which agents may still join a subtree.
pub(super) fn valid_in(
    kv: &dyn ReadKv,
    scope: &GroupPath,
    now: Timestamp,
) -> Result<Option<TokenRow>, StoreError> {
    let tokens = page(kv, None, scope, usize::MAX)?;
    Ok(tokens.into_iter().find(|token| now < token.expires))
}

/// Reads the tokens for a subtree by public id, those after `last`, at most `max`. After what is no id comes none.
pub(in crate::store) fn page(
    kv: &dyn ReadKv,
    last: Option<&str>,
    scope: &GroupPath,
    max: usize,
) -> Result<Vec<TokenRow>, StoreError> {
    let mut found = Vec::new();
    let mut from = match last.map(bytes_of) {
        None => Vec::new(),
        Some(Some(id)) => [&id[..], &[0xff; 25]].concat(),
        Some(None) => return Ok(found),
    };
    loop {
        let lines = kv.range(Table::Tokens, &from, &[0xff; 33], CHUNK)?;
        let Some((key, _)) = lines.last() else { return Ok(found) };
        from = after(key);
        for (key, value) in &lines {
            let Token { group, uses, uses_left, expires, by } = rows::parse(Table::Tokens, value)?;
            if !scope.contains(&group) {
                continue;
            }
            if found.len() >= max {
                return Ok(found);
            }
            found.push(TokenRow { id: public_id(key), group, uses, uses_left, expires, by });
        }
    }
}

/// Forgets tokens that expired a day ago, and who used them, at most `max` lines; tells whether there is more to do.
pub(super) fn forget(batch: &mut Batch<'_>, until: &[u8], max: usize) -> Result<bool, StoreError> {
    let mut room = max;
    while let Some((line, _)) = batch.range(Table::TokenForget, &[], until, 1)?.pop() {
        let hash = line.get(8..).unwrap_or_default().to_vec();
        let uses = batch.range(Table::Uses, &hash, &[&*hash, &[0xff; 33]].concat(), room)?;
        for (key, _) in &uses {
            batch.remove(Table::Uses, key)?;
        }
        room -= uses.len();
        if room == 0 {
            return Ok(true);
        }
        batch.remove(Table::Tokens, &hash)?;
        batch.remove(Table::TokenForget, &line)?;
        room -= 1;
    }
    Ok(false)
}
