//! The MCP endpoint under test.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderMap, Request};
use hyper::body::Incoming;
use shadowcat::auth::{AuthLayer, Authorize, MetadataService, Principal, ScopeLayer};
use shadowcat::origin::OriginLayer;
use shadowcat::replay::ReplayHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::util::MapRequest;

use super::{demo, serve, stack};

/// An MCP endpoint on a free loopback port; dropping it shuts both servers down.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    /// The gateway's streams.
    pub(crate) streams: ReplayHandle,
    _demo: Option<Demo>,
    _alive: watch::Sender<()>,
}

/// The example's demo server, alone; dropping it shuts it down.
#[derive(Debug)]
pub(crate) struct Demo {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    _alive: watch::Sender<()>,
}

const OPTIONS: serve::Options = serve::Options {
    keep_alive: Duration::from_secs(15),
    grace: Duration::from_secs(1),
};

/// Starts what the tests talk to: the gateway of the example, in front of its demo server.
pub(crate) async fn endpoint() -> Endpoint {
    let demo = demo_server().await;
    let endpoint = gateway(&demo.url).await;
    Endpoint {
        _demo: Some(demo),
        ..endpoint
    }
}

pub(crate) async fn demo_server() -> Demo {
    let (alive, dropped) = watch::channel(());
    let (listener, address) = bind().await;
    tokio::spawn(demo::serve(listener, closed(dropped)));
    Demo {
        url: format!("http://{address}/mcp"),
        address,
        _alive: alive,
    }
}

/// Starts the gateway of the example in front of `upstream`.
pub(crate) async fn gateway(upstream: &str) -> Endpoint {
    gateway_for(upstream, |_| None).await
}

/// The same, where somebody outside has found out who calls: whoever `caller` says.
pub(crate) async fn gateway_for(
    upstream: &str,
    caller: fn(&HeaderMap) -> Option<Principal>,
) -> Endpoint {
    let (alive, dropped) = watch::channel(());
    let (listener, address) = bind().await;
    let upstream = upstream.parse().expect("a URL");
    let (resumable, streams) =
        stack::resumable(&upstream, stack::Options::DEFAULT).expect("a usable upstream");
    let mcp = stack::mcp(resumable, None, OriginLayer::loopback());
    let service = MapRequest::new(
        stack::Routes::new(mcp),
        move |mut request: Request<Incoming>| {
            let caller = caller(request.headers());
            caller.map(|principal| request.extensions_mut().insert(principal));
            request
        },
    );
    tokio::spawn(serve::serve(listener, service, OPTIONS, closed(dropped)));
    Endpoint {
        url: format!("http://{address}/mcp"),
        address,
        streams,
        _demo: None,
        _alive: alive,
    }
}

/// What guards a gateway.
pub(crate) struct Guard<A> {
    pub(crate) auth: AuthLayer<A>,
    pub(crate) scopes: ScopeLayer,
    pub(crate) metadata: MetadataService,
}

/// Starts the guarded gateway of the example in front of `upstream`; `guard` is told its URL.
pub(crate) async fn guarded<A>(upstream: &str, guard: impl FnOnce(&str) -> Guard<A>) -> Endpoint
where
    A: Authorize<Future: Send> + Send + Sync + 'static,
{
    let (alive, dropped) = watch::channel(());
    let (listener, address) = bind().await;
    let url = format!("http://{address}/mcp");
    let Guard {
        auth,
        scopes,
        metadata,
    } = guard(&url);
    let upstream = upstream.parse().expect("a URL");
    let (resumable, streams) =
        stack::resumable(&upstream, stack::Options::DEFAULT).expect("a usable upstream");
    let mcp = stack::guarded(resumable, None, OriginLayer::loopback(), auth, scopes);
    let routes = stack::Routes::new(mcp).with_metadata(Some(metadata));
    tokio::spawn(serve::serve(listener, routes, OPTIONS, closed(dropped)));
    Endpoint {
        url,
        address,
        streams,
        _demo: None,
        _alive: alive,
    }
}

impl Endpoint {
    /// Returns once the gateway's streams are as they should be.
    ///
    /// Nothing tells a test when a stream changes hands, so this looks each time something has
    /// happened in the runtime.
    pub(crate) async fn streams_are(&self, are: impl Fn(&ReplayHandle) -> bool) {
        while !are(&self.streams) {
            tokio::task::yield_now().await;
        }
    }
}

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("bind a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    (listener, address)
}

/// Completes when the sender is dropped.
async fn closed(mut dropped: watch::Receiver<()>) {
    while dropped.changed().await.is_ok() {}
}
