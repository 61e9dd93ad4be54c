//! What is served: the layers in front of the upstream, and the routes next to them.

use std::{
    future::Future,
    num::{NonZeroU16, NonZeroUsize},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use shadowcat::{
    auth::{Auth, AuthLayer, CheckScopes, MetadataService, ScopeLayer},
    body::{RequestBody, ResponseBody},
    header::{MCP_SESSION_ID, RATE_LIMIT, RATE_LIMIT_POLICY},
    message::{MessageLayer, ReadMessage},
    origin::{CheckOrigin, OriginLayer},
    proxy::{ReverseProxy, UpstreamUrlError},
    rate_limit::{ByPeer, ByPrincipal, LocalLimiter, Or, Quota, RateKey, RateLimitLayer},
    replay::{Replay, ReplayHandle, ReplayLayer},
    session::{BindSession, SessionLayer},
    store::{MemorySessionStore, MemoryStore, erased::ErasedStore},
};
use tower::{
    Layer, Service, ServiceBuilder,
    util::{Either, option_layer},
};
use tower_http::cors::{AllowHeaders, AllowOrigin, Cors, CorsLayer};

/// The stack of `/mcp`, outermost layer first.
pub(crate) type Mcp<S> = Readable<CheckOrigin<ReadMessage<BindSession<S, Sessions>>>>;

/// The same for those who are known.
pub(crate) type Guarded<S, A> =
    Readable<CheckOrigin<Auth<ReadMessage<CheckScopes<BindSession<S, Sessions>>>, A>>>;

/// What the pages of listed origins may read, if any are listed.
type Readable<S> = Either<Cors<S>, S>;

/// The upstream, with streams that can be resumed.
pub(crate) type Resumable = Replay<ReverseProxy<RequestBody<Incoming>>, Store>;

/// Who shares are given to: those who are known, or else where they come from.
type Caller = Or<ByPrincipal, ByPeer>;

/// Where sessions are kept.
pub(crate) type Sessions = MemorySessionStore;

/// Where events are kept: chosen at run time.
pub(crate) type Store = ErasedStore;

/// What is kept of a stream, for a client that comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) events: NonZeroUsize,
    pub(crate) bytes: usize,
    /// How long a stream goes on without its client, and is kept after its end.
    pub(crate) time: Duration,
}

impl Window {
    pub(crate) const DEFAULT: Self = Self {
        events: MemoryStore::DEFAULT_MAX_EVENTS,
        bytes: MemoryStore::DEFAULT_MAX_BYTES,
        time: ReplayLayer::DEFAULT_MAX_DETACHED_FOR,
    };

    pub(crate) fn store(self) -> Store {
        // One stream may use its window up, also where that is more than the streams of one client,
        // or all streams, take by default.
        let room = |default: usize| default.max(self.bytes.saturating_mul(2));
        let memory = MemoryStore::new()
            .with_max_events(self.events)
            .with_max_bytes(self.bytes)
            .with_max_owner_bytes(room(MemoryStore::DEFAULT_MAX_OWNER_BYTES))
            .with_max_total_bytes(room(MemoryStore::DEFAULT_MAX_TOTAL_BYTES))
            .with_retain_for(self.time);
        ErasedStore::new(memory)
    }
}

/// How much everybody may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) quota: Quota,
    /// Streams that are open, and as many calls.
    pub(crate) max_streams: Option<NonZeroU16>,
}

impl Share {
    /// What is not asked for is not limited.
    pub(crate) const ALL: Self = Self {
        quota: Quota::UNLIMITED,
        max_streams: None,
    };

    /// Gives everybody their share, outside of what is [`resumable`]: a stream that goes on without
    /// its client counts for nobody. `None` if nothing is limited: without the layer, a request takes
    /// 1 to 2 % less.
    pub(crate) fn layer(self) -> Option<RateLimitLayer<Caller>> {
        if self.quota.is_unlimited() && self.max_streams.is_none() {
            return None;
        }
        let mut limiter = LocalLimiter::new(self.quota);
        if self.quota.is_unlimited() {
            limiter = limiter.with_resumes(Quota::UNLIMITED);
        }
        if let Some(max) = self.max_streams {
            limiter = limiter.with_max_streams(max);
        }
        let caller = ByPrincipal.or(ByPeer::new());
        Some(RateLimitLayer::with_limiter(caller, limiter))
    }
}

/// How streams are treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) window: Window,
    /// Silence after which a stream's client is sent a comment, and TCP probes the upstream.
    pub(crate) keep_alive: Duration,
}

impl Options {
    pub(crate) const DEFAULT: Self = Self {
        window: Window::DEFAULT,
        keep_alive: Duration::from_secs(15),
    };
}

/// Lets the pages of these origins read what they are answered (ORG-6); `None` if there are none.
///
/// Each as browsers write it: in lower case, and without a port that goes without saying.
pub(crate) fn cors(origins: Vec<HeaderValue>) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        // Whatever the page asks for: no list has all of `Mcp-Param-*`, and the layers inside judge
        // what comes.
        .allow_headers(AllowHeaders::mirror_request())
        // Without these a page cannot read its own session id, and every later request fails; nor what
        // to do about a refusal.
        .expose_headers([
            MCP_SESSION_ID,
            WWW_AUTHENTICATE,
            RETRY_AFTER,
            RATE_LIMIT,
            RATE_LIMIT_POLICY,
        ])
        // The gateway is on the reader's own machine, and the page is not.
        .allow_private_network(true);
    Some(cors)
}

/// The stack in front of `upstream`: what is [`resumable`], inside of limits if there are any.
pub(crate) fn mcp<S>(upstream: S, cors: Option<CorsLayer>, origin: OriginLayer) -> Mcp<S> {
    ServiceBuilder::new()
        // Before anything that could refuse: a preflight is answered here, and a refusal without
        // these fields is unreadable for the page.
        .layer(option_layer(cors))
        // A page in a browser on this machine reaches loopback too, and the upstream cannot tell,
        // because it sees its own name as the `Host`.
        .layer(origin)
        // Reads each body once, with a limit and a deadline, for all layers inside.
        .layer(MessageLayer::new())
        // Gives clients session ids of our own. Nobody is known here, so possession of one is all.
        .layer(SessionLayer::new(Sessions::new()).allow_anonymous())
        .service(upstream)
}

/// The same for those whom `auth` lets in, as far as `scopes` does.
pub(crate) fn guarded<S, A>(
    upstream: S,
    cors: Option<CorsLayer>,
    origin: OriginLayer,
    auth: AuthLayer<A>,
    scopes: ScopeLayer,
) -> Guarded<S, A> {
    ServiceBuilder::new()
        .layer(option_layer(cors))
        .layer(origin)
        // Before anything is read, so that those who are not let in cost little. What the upstream
        // thinks of us is none of the client's business.
        .layer(auth.with_hidden_unauthorized(true))
        .layer(MessageLayer::new())
        .layer(scopes)
        // Each session is its principal's.
        .layer(SessionLayer::new(Sessions::new()))
        .service(upstream)
}

/// The upstream with streams that can be resumed, which it need not know of, and what ends them.
pub(crate) fn resumable(
    upstream: &Uri,
    options: Options,
) -> Result<(Resumable, ReplayHandle), UpstreamUrlError> {
    let Options { window, keep_alive } = options;
    let proxy = ReverseProxy::builder(upstream)?
        .with_tcp_keep_alive(keep_alive)
        .build();
    let replay = ReplayLayer::new(window.store())
        .with_max_detached_for(window.time)
        .with_keep_alive(Some(keep_alive));
    let streams = replay.handle();
    Ok((replay.layer(proxy), streams))
}

/// `/mcp`, its metadata and `/healthz`; nothing else reaches the upstream (PRX-13).
#[derive(Clone, Debug)]
pub(crate) struct Routes<S> {
    mcp: S,
    metadata: Option<MetadataService>,
    answers_preflights: bool,
}

impl<S> Routes<S> {
    pub(crate) const fn new(mcp: S) -> Self {
        Self {
            mcp,
            metadata: None,
            answers_preflights: false,
        }
    }

    /// Answers preflights here, without a word about origins, so that no page may go on: none carries a
    /// token, and auth would ask it for one. For a guarded service that no page may read.
    pub(crate) fn with_preflights(self, answers_preflights: bool) -> Self {
        Self {
            answers_preflights,
            ..self
        }
    }

    /// Also serves `metadata`, to anyone and any page (AUT-3).
    pub(crate) fn with_metadata(self, metadata: Option<MetadataService>) -> Self {
        Self { metadata, ..self }
    }

    /// The metadata, if `path` is theirs.
    fn metadata_at(&self, path: &str) -> Option<&MetadataService> {
        let metadata = self.metadata.as_ref()?;
        metadata.paths().contains(&path).then_some(metadata)
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Routes<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResponseBody<ResBody>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RouteFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.mcp.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (status, allow) = match (request.uri().path(), request.method()) {
            ("/mcp", &Method::OPTIONS)
                if self.answers_preflights
                    && (request.headers()).contains_key(ACCESS_CONTROL_REQUEST_METHOD) =>
            {
                (StatusCode::OK, None)
            }
            // GET and DELETE are MCP's too; HEAD and OPTIONS do no harm. What else there is, no
            // MCP client sends.
            (
                "/mcp",
                &Method::POST | &Method::GET | &Method::DELETE | &Method::HEAD | &Method::OPTIONS,
            ) => {
                let call = self.mcp.call(request);
                return RouteFuture::Mcp { call };
            }
            ("/mcp", _) => (StatusCode::METHOD_NOT_ALLOWED, Some("GET, POST, DELETE")),
            ("/healthz", &Method::GET | &Method::HEAD) => (StatusCode::OK, None),
            ("/healthz", _) => (StatusCode::METHOD_NOT_ALLOWED, Some("GET, HEAD")),
            (path, _) => match self.metadata_at(path) {
                Some(metadata) => {
                    let response = metadata.respond(&request);
                    return RouteFuture::fixed(response);
                }
                None => (StatusCode::NOT_FOUND, None),
            },
        };
        let text = status.canonical_reason().unwrap_or_default();
        let mut response = Response::new(ResponseBody::fixed(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if let Some(allow) = allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        RouteFuture::fixed(response)
    }
}

pin_project! {
    #[project = RouteFutureProj]
    pub(crate) enum RouteFuture<F, B> {
        Mcp { #[pin] call: F },
        Fixed { response: Option<Response<ResponseBody<B>>> },
    }
}

impl<F, B> RouteFuture<F, B> {
    const fn fixed(response: Response<ResponseBody<B>>) -> Self {
        Self::Fixed {
            response: Some(response),
        }
    }
}

impl<F, B, E> Future for RouteFuture<F, B>
where
    F: Future<Output = Result<Response<ResponseBody<B>>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            RouteFutureProj::Mcp { call } => call.poll(cx),
            RouteFutureProj::Fixed { response } => {
                Poll::Ready(Ok(response.take().expect("polled after completion")))
            }
        }
    }
}
