//! The host's daemon.
mod apply;
pub mod clock;
mod control;
mod events;
mod hosts;
mod indices;
mod install;
pub mod kernel;
pub mod netlink;
mod next_hops;
mod packet_socket;
mod plan;
mod ports;
mod probe;
mod sweep;

/// An error with all its causes, in one line.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
