//! Makes event streams resumable: event ids, an event log, and `Last-Event-ID`.

mod asked;
mod body;
mod body_error;
mod drain;
mod expect;
mod future;
mod handle;
mod hub;
mod inert;
mod layer;
mod pages;
mod producer;
mod record;
mod resume;
mod service;
mod source;
mod stream;
mod subscriber;
mod synthetic;
mod tail;

pub use self::{
    body::ResponseBody,
    body_error::{BodyError, BodyErrorKind},
    future::ResponseFuture,
    handle::{ReplayHandle, ReplayStats, StreamInfo},
    layer::{ReplayLayer, StoreFailure},
    service::Replay,
    stream::StreamState,
};
