//! Has interceptors look at every message.

mod answer;
mod audit;
mod begin;
mod body;
mod body_error;
mod chain;
mod context;
mod deliberate;
mod edit;
mod error;
mod failure;
mod function;
mod future;
mod handle;
mod inspect;
mod interceptor;
mod interest;
mod judge;
mod layer;
mod links;
mod message;
mod options;
mod output;
mod pause;
mod redact;
mod ruling;
mod service;
mod state;
mod synthetic;
mod tools;
mod unit;
mod values;
mod verdict;
mod work;

pub use self::{
    audit::AuditLog,
    body::ResponseBody,
    body_error::{BodyError, BodyErrorKind},
    chain::Chain,
    context::{Context, Direction},
    edit::{Edit, EditError, EditErrorKind},
    error::InterceptError,
    function::{AsyncFn, SyncFn, async_fn, sync_fn},
    future::ResponseFuture,
    handle::{HeldMessage, InterceptHandle, PauseError, PauseHandle, PauseId},
    interceptor::{Decision, Interceptor, Unneeded},
    interest::Interest,
    layer::InterceptLayer,
    links::Links,
    message::Message,
    options::{Configured, Options},
    redact::Redact,
    service::Intercept,
    state::InterceptStats,
    tools::ToolFilter,
    verdict::{Denial, Judgement, Pause, Verdict},
};
