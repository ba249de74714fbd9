//! Power: who may relay for whom, the rules of an attempt, and ten thousand simulated ones.

mod attempt;
mod explain;
mod fixture;
mod neighbours;
mod oracle;
mod resume;
mod run;
mod scenario;
mod simulator;
