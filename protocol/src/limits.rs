//! Every limit of wire protocol v1, in one place.

/// Largest JSON payload of any topic or HTTP body, in bytes.
pub const PAYLOAD_MAX: usize = 60 * 1024;
/// Largest MQTT packet after authentication, in bytes, fixed header included.
pub const PACKET_MAX: usize = 64 * 1024;
/// Largest MQTT packet before authentication, in bytes, fixed header included.
pub const PACKET_MAX_UNAUTHENTICATED: usize = 4 * 1024;
/// Largest facts document, in bytes.
pub const FACTS_MAX: usize = 8 * 1024;
/// Longest id of an agent or name of an operator, in characters (all of them ASCII).
pub const ID_LEN_MAX: usize = 64;
/// Most segments in a group path.
pub const GROUP_DEPTH_MAX: usize = 8;
/// Longest segment of a group path, in characters (all of them ASCII).
pub const GROUP_SEGMENT_MAX: usize = 64;
/// Longest slot, in characters (all of them ASCII).
pub const SLOT_LEN_MAX: usize = 64;
/// Time to live of a command whose publisher names none, in seconds: a day.
pub const TTL_DEFAULT_SECS: u32 = 86_400;
/// Longest time to live of a command, in seconds: 30 days.
pub const TTL_MAX_SECS: u32 = 2_592_000;
/// How long broker and agents remember an id after its command expired, in seconds: a day.
pub const ID_MEMORY_SECS: u32 = 86_400;
/// Most own commands that may be pending for one agent.
pub const PENDING_MAX: usize = 100;
/// Most live commands for one group.
pub const LIVE_RECORDS_MAX: usize = 100;
/// Most commands in flight on one connection; a smaller Receive Maximum counts.
pub const IN_FLIGHT_MAX: u16 = 16;
/// Most commands without a result in an agent's journal.
pub const JOURNAL_MAX: usize = 256;
/// Most publishes a second from one agent before the broker pauses reading.
pub const AGENT_PUBLISHES_PER_SEC: u32 = 10;
/// Largest Correlation Data of a submission, in bytes.
pub const CORRELATION_DATA_MAX: usize = 128;
/// Longest response name after `responses/`, in bytes.
pub const RESPONSE_NAME_MAX: usize = 256;
/// Longest `reason` of a command, in bytes.
pub const REASON_MAX: usize = 1024;
/// Longest `detail` of a receipt, in bytes.
pub const DETAIL_MAX: usize = 4096;
/// Seconds within which an agent returns after a lost connection when no broker advised otherwise.
pub const RETURN_DEFAULT_SECS: u32 = 60;
/// Shortest and longest wait, in seconds, of an agent that was taken over.
pub const TAKEOVER_WAIT_SECS: (u32, u32) = (30, 90);
/// Shortest and longest heartbeat of a long poll, in seconds; a broker may allow less.
pub const POLL_HEARTBEAT_SECS: (u32, u32) = (60, 3_540);
/// How long a command that was the answer to a poll is withheld from further polls, in seconds.
pub const POLL_WITHHELD_SECS: u32 = 60;
/// How long after an answer a poller counts as connected, in seconds.
pub const POLL_GRACE_SECS: u32 = 30;
