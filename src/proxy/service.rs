use std::{
    convert::Infallible,
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response, Uri, Version};
use http_body::Body;
use tower_service::Service;

use super::{
    UpstreamBody,
    client::{Client, Config},
    exchange::Exchange,
    failure::Failure,
    future::ResponseFuture,
    gauges::Gauges,
    hop,
    target::{Target, UpstreamUrlError},
};
use crate::{BoxError, body::ResponseBody, message::Message, refusal::Recipient};

/// Answers each request with the answer of one upstream.
///
/// `B` is the type of the request's body. See the [module docs](crate::proxy).
pub struct ReverseProxy<B> {
    client: Arc<Client<B>>,
}

/// Sets up a [`ReverseProxy`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ReverseProxyBuilder {
    target: Target,
    config: Config,
}

impl ReverseProxyBuilder {
    /// The time that a connection may take, with the resolution of the name. 10 s by default;
    /// 504 when it is over.
    pub const fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// The time from the call to the upstream's response head, the upload included. 5 min by
    /// default, because a tool may work that long before it answers with JSON; 504 when it is over.
    pub const fn with_head_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.config.head_timeout = timeout;
        self
    }

    /// The longest silence within a response body that is not an event stream. 60 s by default;
    /// the body ends with a [`BodyError`](super::BodyError) when it is over. Counted in milliseconds,
    /// 49 days at most.
    pub const fn with_idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.config.idle_timeout = timeout;
        self
    }

    /// The longest silence within an event stream, comments counting as activity. 1 h by default:
    /// MCP streams are silent by right, and to end one of 2026-07-28 cancels the user's work
    /// (CAN-4). A peer that is gone is found by TCP, long before. Counted in milliseconds, 49 days at
    /// most.
    pub const fn with_stream_idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.config.stream_idle_timeout = timeout;
        self
    }

    /// The silence after which TCP probes the upstream, three times. 15 s by default. Bytes that
    /// the upstream's machine does not acknowledge end the connection after four times as long.
    pub const fn with_tcp_keep_alive(mut self, interval: Duration) -> Self {
        self.config.tcp_keep_alive = interval;
        self
    }

    /// The number of idle connections that are kept for later requests: 1,024 by default, so that
    /// after many streams have ended together, as many requests need not connect anew. Each takes a
    /// descriptor, and what hyper has reserved to read from it, 8 KiB as a rule.
    pub const fn with_max_idle_connections(mut self, count: usize) -> Self {
        self.config.max_idle_connections = count;
        self
    }

    /// How long an idle connection is kept, to the second. 90 s by default. One that its upstream
    /// closes is closed within a second.
    pub const fn with_pool_idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.pool_idle_timeout = timeout;
        self
    }

    /// Whether frames that are there already are joined into one. On by default; off, each frame
    /// of the upstream is a frame, and so a write, of its own.
    pub const fn with_merging(mut self, merge: bool) -> Self {
        self.config.merge = merge;
        self
    }

    /// Builds the proxy. Connections are made when requests come.
    #[must_use]
    pub fn build<B>(self) -> ReverseProxy<B> {
        let Self { target, config } = self;
        ReverseProxy {
            client: Arc::new(Client::new(target, config)),
        }
    }
}

impl ReverseProxy<()> {
    /// A proxy to the endpoint at `upstream`, such as `http://127.0.0.1:3000/mcp`.
    ///
    /// # Errors
    ///
    /// If `upstream` is not an absolute `http` URL, or holds credentials.
    pub fn builder(upstream: &Uri) -> Result<ReverseProxyBuilder, UpstreamUrlError> {
        Ok(ReverseProxyBuilder {
            target: Target::new(upstream)?,
            config: Config {
                connect_timeout: Duration::from_secs(10),
                tcp_keep_alive: Duration::from_secs(15),
                max_idle_connections: 1024,
                pool_idle_timeout: Duration::from_secs(90),
                head_timeout: Some(Duration::from_secs(5 * 60)),
                idle_timeout: Some(Duration::from_secs(60)),
                stream_idle_timeout: Some(Duration::from_secs(60 * 60)),
                merge: true,
            },
        })
    }
}

impl<B> ReverseProxy<B> {
    /// What the proxy is doing.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.client.gauges.clone()
    }
}

impl<B> Service<Request<B>> for ReverseProxy<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ResponseBody<UpstreamBody>>;
    type Error = Infallible;
    type Future = ResponseFuture<B>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> ResponseFuture<B> {
        let Client { target, gauges, .. } = &*self.client;
        // Only the ids are kept while the upstream works, not the body.
        let recipient = Recipient::from(request.extensions().get::<Message>());
        // Neither is a message: one is a tunnel, the other repeats credentials to its sender.
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return ResponseFuture::refused(Failure::Method, recipient);
        }
        if let Err(failure) = hop::to_upstream(request.headers_mut(), target.host()) {
            return ResponseFuture::refused(failure, recipient);
        }
        *request.uri_mut() = target.path_for(request.uri());
        *request.version_mut() = Version::HTTP_11;
        // Facts are this side's; the connection has no use for them.
        drop(mem::take(request.extensions_mut()));
        let exchange = Exchange::start(&self.client, request);
        ResponseFuture::waiting(exchange, recipient, gauges.start())
    }
}

impl<B> Clone for ReverseProxy<B> {
    fn clone(&self) -> Self {
        Self {
            client: Arc::clone(&self.client),
        }
    }
}

impl<B> fmt::Debug for ReverseProxy<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Client {
            connector: _,
            target,
            pool,
            config,
            gauges,
        } = &*self.client;
        // The URL's query may hold a key.
        f.debug_struct("ReverseProxy")
            .field("host", target.host())
            .field("config", config)
            .field("gauges", gauges)
            .field("pool", pool)
            .finish()
    }
}
