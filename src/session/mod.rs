//! Session binding.

mod answer;
mod ask;
mod begin;
mod body;
mod chores;
mod fact;
mod future;
mod handle;
mod id;
mod janitor;
mod keep;
mod layer;
mod learn;
mod pending;
mod reason;
mod service;

pub use self::{
    body::ResponseBody,
    fact::Session,
    future::ResponseFuture,
    handle::{
        InvalidSessionTag, SessionHandle, SessionInfo, SessionList, SessionStats, SessionTag,
    },
    layer::SessionLayer,
    service::BindSession,
};
