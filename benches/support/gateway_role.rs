//! The processes under test: the stack of the gateway example, and parts of it.

use std::future;
use std::num::NonZeroU16;
use std::time::Duration;

use http::Uri;
use shadowcat::auth::{AuthLayer, MetadataService, Principal, ScopeLayer, Scopes, StaticTokens};
use shadowcat::intercept::{InterceptLayer, Interest, Verdict, sync_fn};
use shadowcat::message::MessageLayer;
use shadowcat::origin::OriginLayer;
use shadowcat::proxy::ReverseProxy;
use shadowcat::rate_limit::Quota;
use shadowcat::replay::ReplayLayer;
use tokio::net::TcpListener;
use tower::{Layer, ServiceBuilder};

use super::{payload, proc::Result};

#[path = "../../examples/gateway/serve.rs"]
mod serve;
// Of its own stack, each role leaves out or adds what it compares.
#[allow(dead_code)]
#[path = "../../examples/gateway/stack.rs"]
mod stack;

const OPTIONS: serve::Options = serve::Options {
    keep_alive: Duration::from_secs(15),
    grace: Duration::ZERO,
};

/// Serves the gateway on `listener` in front of `upstream`.
pub(crate) async fn whole(listener: TcpListener, upstream: Uri) -> Result<()> {
    let (resumable, _) = stack::resumable(&upstream, stack::Options::DEFAULT)?;
    let routes = stack::Routes::new(stack::mcp(resumable, None, OriginLayer::loopback()));
    Ok(serve::serve(listener, routes, OPTIONS, future::pending()).await?)
}

/// The same with shares for everybody: much more than there is, or next to nothing.
pub(crate) async fn limited(listener: TcpListener, upstream: Uri, has_enough: bool) -> Result<()> {
    let quota = if has_enough {
        Quota::per_second(1_000_000)?
    } else {
        // Which opens a session.
        Quota::per(Duration::from_secs(60 * 60), 1)?
    };
    let share = stack::Share {
        quota,
        max_streams: Some(NonZeroU16::MAX),
    };
    let limits = share.layer().ok_or("nothing is limited")?;
    let (resumable, _) = stack::resumable(&upstream, stack::Options::DEFAULT)?;
    let limited = limits.layer(resumable);
    let routes = stack::Routes::new(stack::mcp(limited, None, OriginLayer::loopback()));
    Ok(serve::serve(listener, routes, OPTIONS, future::pending()).await?)
}

/// The same for whoever has the load's token, with scopes that it has.
pub(crate) async fn guarded(listener: TcpListener, upstream: Uri) -> Result<()> {
    let who = Principal::builder("load").with_scopes(["call"]).build()?;
    let tokens = StaticTokens::new().add_token(payload::TOKEN, who)?;
    let metadata = MetadataService::builder("https://mcp.example.com/mcp")
        .allow_no_authorization_server()
        .build()?;
    let (resumable, _) = stack::resumable(&upstream, stack::Options::DEFAULT)?;
    let mcp = stack::guarded(
        resumable,
        None,
        OriginLayer::loopback(),
        AuthLayer::new(tokens).with_metadata(&metadata),
        ScopeLayer::new().add_method("tools/call", Scopes::new(["call"])?),
    );
    let routes = stack::Routes::new(mcp)
        .with_metadata(Some(metadata))
        .with_preflights(true);
    Ok(serve::serve(listener, routes, OPTIONS, future::pending()).await?)
}

/// The first without a check of hosts and origins, and without sessions.
pub(crate) async fn replaying(listener: TcpListener, upstream: Uri) -> Result<()> {
    let proxy = ReverseProxy::builder(&upstream)?
        .with_tcp_keep_alive(OPTIONS.keep_alive)
        .build();
    let window = stack::Window::DEFAULT;
    let replay = ReplayLayer::new(window.store())
        .with_max_detached_for(window.time)
        .with_keep_alive(Some(OPTIONS.keep_alive));
    let mcp = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(replay)
        .service(proxy);
    let routes = stack::Routes::new(mcp);
    Ok(serve::serve(listener, routes, OPTIONS, future::pending()).await?)
}

/// A proxy with interceptors that are not interested in what is sent, or are in all of it.
pub(crate) async fn intercepting(
    listener: TcpListener,
    upstream: Uri,
    is_interested: bool,
) -> Result<()> {
    let proxy = ReverseProxy::builder(&upstream)?
        .with_tcp_keep_alive(OPTIONS.keep_alive)
        .build();
    let interest = if is_interested {
        Interest::all()
    } else {
        Interest::exchanges("resources/*")
    };
    let watch = || sync_fn(interest.clone(), |_, _| Verdict::Continue);
    let mcp = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(InterceptLayer::new((watch(), watch())))
        .service(proxy);
    let routes = stack::Routes::new(mcp);
    Ok(serve::serve(listener, routes, OPTIONS, future::pending()).await?)
}

/// A proxy alone.
pub(crate) async fn proxying(listener: TcpListener, upstream: Uri) -> Result<()> {
    let proxy = ReverseProxy::builder(&upstream)?
        .with_tcp_keep_alive(OPTIONS.keep_alive)
        .build();
    let mcp = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .service(proxy);
    let routes = stack::Routes::new(mcp);
    Ok(serve::serve(listener, routes, OPTIONS, future::pending()).await?)
}
