//! What a principal may do: scopes per method, tool, prompt and resource.

mod future;
mod layer;
mod policy;
mod service;

pub use self::{future::ScopeFuture, layer::ScopeLayer, service::CheckScopes};
