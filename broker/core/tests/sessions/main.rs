//! The sessions from outside: packets, replies and the time go in, actions are looked at.

mod agent;
mod agent_delivery;
mod agent_model;
mod fixture;
mod heartbeat;
mod login;
mod operator;
mod operator_responses;
