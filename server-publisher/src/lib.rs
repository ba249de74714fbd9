//! The publisher's side of WakeMQ: submits commands, follows what becomes of them, watches events, and manages
//! agents, groups, enrolment tokens and operators.
//!
//! A [`Publisher`] keeps one MQTT 5 connection. [`Publisher::submit`] returns once the broker has the command, for
//! an agent or for a group, durably; the [`Submitted`] that it gives tells each further state, across lost
//! connections too, because the same command is then submitted again by its id. A [`Watcher`] tells events as they
//! happen. [`Management`] asks the rest over HTTP.
//!
//! ```no_run
//! use std::time::Duration;
//! use wakemq_protocol::{AgentId, Kind, Submission};
//! use wakemq_publisher::{Publisher, Verdict, Wanted, load_profile};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let publisher = Publisher::connect(&load_profile("operator.toml".as_ref())?).await?;
//! let printer: AgentId = "printer-7".parse()?;
//! let mut command = publisher.submit(&printer, Submission::new(Kind::Wake)).await?;
//! match command.wait(Wanted::Acknowledged, Duration::from_secs(30)).await? {
//!     Verdict::Reached => {}
//!     Verdict::Waiting | Verdict::Missed => eprintln!("became {:?}", command.outcome()),
//! }
//! publisher.close().await;
//! # Ok(())
//! # }
//! ```

mod driver;
mod error;
mod follow;
mod id;
mod line;
mod management;
mod outbox;
mod profile;
mod publisher;
mod watcher;

pub use error::{ApiError, ConnectError, SetupError, SubmitError};
pub use follow::{Verdict, Wanted};
pub use id::new_command_id;
pub use management::{AgentFilter, IMPORT_LINES_MAX, Import, Management};
pub use profile::{NewProfile, ProfileError, load_profile};
pub use publisher::{Publisher, Submitted};
pub use watcher::{Watched, Watcher};
