//! The sessions from outside: packets, replies and the time go in, actions are looked at.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test fails on any action but the one that it expects")]

mod agent;
mod agent_delivery;
mod agent_model;
mod fixture;
mod heartbeat;
mod login;
mod operator;
mod operator_events;
mod operator_responses;
mod poll;
