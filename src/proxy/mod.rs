//! A leaf service that answers with the answer of an upstream.
mod body;
mod body_error;
mod connect;
mod failure;
mod future;
mod gauges;
mod hop;
mod merge;
mod service;
mod target;

pub use self::{
    body::UpstreamBody,
    body_error::{BodyError, BodyErrorKind},
    future::ResponseFuture,
    gauges::Gauges,
    service::{ReverseProxy, ReverseProxyBuilder},
    target::{UpstreamUrlError, UpstreamUrlErrorKind},
};

#[cfg(test)]
mod tests;
