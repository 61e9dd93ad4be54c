//! Reads a POST body once, for every layer inside.
mod classify;
#[cfg(feature = "message")]
mod collect;
mod fact;
#[cfg(feature = "message")]
mod future;
#[cfg(feature = "message")]
mod layer;
#[cfg(feature = "message")]
mod service;

pub use self::{
    classify::{Classified, Fault, classify},
    fact::Message,
};
#[cfg(feature = "message")]
pub use self::{future::ResponseFuture, layer::MessageLayer, service::ReadMessage};
